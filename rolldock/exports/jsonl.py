"""Chat JSONL: one line for each branch of a rollout's last attempt, as OpenAI writes conversations.

`messages` and `tools` are what chat completions takes; all that is ours stands in `metadata`.
"""

import orjson
from pydantic import JsonValue

from rolldock.exports.branches import Branch
from rolldock.exports.conversation import messages
from rolldock.exports.material import Material, Recorded
from rolldock.models.base import JsonObject


def jsonl(material: Material) -> bytes:
    """The lines of one rollout; empty where it has no trace."""
    recorded = material.last
    if recorded is None:
        return b""
    lines = [_line(material, recorded, branch) for branch in recorded.branches]
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def _line(material: Material, recorded: Recorded, branch: Branch) -> JsonObject:
    tools = recorded.tools_of(branch.turns[-1])
    return {
        "messages": messages(recorded, branch),
        **({"tools": tools} if tools else {}),
        "metadata": _metadata(material, recorded, branch),
    }


def _metadata(material: Material, recorded: Recorded, branch: Branch) -> JsonObject:
    result, spec = material.result, material.result.spec
    main = branch is recorded.branches[0]
    kind = "auxiliary" if branch.auxiliary else "main" if main else "branch"
    replayed: list[JsonValue] = [turn.slot for turn in branch.turns if turn.replayed is not None]
    return {
        "rollout": result.rollout,
        "attempt": recorded.trace.attempt,
        "branch": branch.leaf,
        "kind": kind,
        "turns": [turn.slot for turn in branch.turns],
        "copied_turns": [turn.slot for turn in branch.turns[: branch.n_copied]],
        "replayed_turns": replayed,
        "experiment": result.experiment,
        "group": result.group,
        "task": spec.task.name,
        "task_digest": result.task_digest,
        "agent": result.agent,
        "agent_version": result.agent_version,
        "endpoint": spec.endpoint,
        "status": str(result.status),
        "stop_reason": str(result.stop_reason),
        "cause": str(result.failure.cause) if result.failure else None,
        "reward": result.reward,
        "rewards": dict[str, JsonValue](result.rewards),
        "reward_valid": result.reward_valid,
        "trainable": result.trainable,
        "replay_of": spec.replay_of,
    }
