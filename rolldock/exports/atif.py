"""ATIF, Harbor's trajectory format, version 1.7: one document for the trace of one attempt.

The main branch is the trajectory; every other branch is embedded as a subagent's. Written from the
format's published models (`harbor.models.trajectories`), which the tests hold it against.
"""

from typing import Final

from pydantic import JsonValue

from rolldock.exports.atif_steps import Step, steps
from rolldock.exports.branches import Branch
from rolldock.exports.material import Attempted, Material, Recorded
from rolldock.models.base import JsonObject
from rolldock.models.result import RolloutResult
from rolldock.models.turn import Turn

_VERSION: Final = "ATIF-v1.7"
_UNKNOWN: Final = "unknown"
"""ATIF wants an agent's version; an attempt that failed early never learnt it."""


def atif(material: Material, attempted: Attempted) -> JsonObject | None:
    """The trajectory of one attempt; None: it has no trace, and ATIF knows no empty trajectory."""
    recorded = attempted.recorded
    if recorded is None:
        return None
    main, *others = recorded.branches
    document, main_steps = _trajectory(material, recorded, main)
    document["extra"] = _root_extra(material.result, attempted)
    embedded: list[JsonValue] = []
    for branch in others:
        sub, _ = _trajectory(material, recorded, branch)
        sub["extra"] = {"kind": "auxiliary" if branch.auxiliary else "branch"}
        embedded.append(sub)
        _refer(main_steps, branch, str(sub["trajectory_id"]))
    document["steps"] = [step.document() for step in main_steps]
    if embedded:
        document["subagent_trajectories"] = embedded
    return document


def _trajectory(
    material: Material, recorded: Recorded, branch: Branch
) -> tuple[JsonObject, list[Step]]:
    result = material.result
    made = steps(recorded, branch)
    attempt = recorded.trace.attempt
    return {
        "schema_version": _VERSION,
        "session_id": attempt,
        "trajectory_id": f"{attempt}/{branch.leaf}",
        "agent": {
            "name": result.agent,
            "version": result.agent_version or _UNKNOWN,
            **({"model_name": result.spec.endpoint} if result.spec.endpoint else {}),
            **_tool_definitions(recorded, branch.turns[-1]),
        },
        "steps": [step.document() for step in made],
        "final_metrics": _final_metrics(branch, len(made)),
    }, made


def _tool_definitions(recorded: Recorded, turn: Turn) -> JsonObject:
    tools = [tool for tool in recorded.tools_of(turn) if isinstance(tool, dict)]
    return {"tool_definitions": list[JsonValue](tools)} if tools else {}


def _final_metrics(branch: Branch, n_steps: int) -> JsonObject:
    """Of the branch's own turns: those of several branches are counted once in all."""
    own = branch.own
    return {
        "total_prompt_tokens": sum(turn.usage.input_tokens for turn in own),
        "total_completion_tokens": sum(turn.usage.output_tokens for turn in own),
        "total_cached_tokens": sum(turn.usage.cached_tokens for turn in own),
        "total_steps": n_steps,
    }


def _refer(main: list[Step], branch: Branch, trajectory: str) -> None:
    """Name a branch in the step of the main one where it parts, or after whose calls it began.

    A call that stands before all of the agent's steps, such as one for a title, is only embedded.
    """
    shared = {turn.slot for turn in branch.turns[: branch.n_copied]}
    begun = branch.own[0].started_at
    before = [
        step
        for step in main
        if step.turn is not None
        and (
            step.turn.slot in shared if shared else bool(step.calls) and step.turn.ended_at <= begun
        )
    ]
    if before:
        before[-1].subagents.append(trajectory)


def _root_extra(result: RolloutResult, attempted: Attempted) -> JsonObject:
    record = attempted.record
    last = bool(result.attempts) and record.attempt == result.attempts[-1].attempt
    failure = result.failure if last else record.failure
    return {
        "rollout": result.rollout,
        "attempt_number": record.number,
        "experiment": result.experiment,
        "group": result.group,
        "task": result.spec.task.name,
        "task_digest": result.task_digest,
        "status": str(result.status) if last else "failed",
        "stop_reason": str(record.stop_reason),
        "cause": str(failure.cause) if failure else None,
        "reward": result.reward if last else None,
        "rewards": dict[str, JsonValue](result.rewards) if last else {},
        "trainable": result.trainable and last,
        "replay_of": result.spec.replay_of,
    }
