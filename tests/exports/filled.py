"""Rollouts as their seal leaves them, written into a store: what exports are made from.

The trace has what formats differ in: a delegated conversation, a fork, a call for a title, a
replayed turn, two calls in one turn, arguments that are no JSON, and turns with and without tokens.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import orjson
from pydantic import JsonValue

from rolldock.gateway.seal import summarise
from rolldock.models.base import JsonObject
from rolldock.models.failure import Failure
from rolldock.models.replay import Replayed
from rolldock.models.result import Artifact, AttemptResult, RolloutResult, Status, StopReason
from rolldock.models.spec import AgentRef, RolloutSpec, TaskRef
from rolldock.models.trace import Trace
from rolldock.models.turn import Tokens, TokenSource, Turn, Usage
from rolldock.results import commit
from rolldock.store import keys
from rolldock.store.store import Store
from tests.recording import make_turn

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOOLS: list[JsonValue] = [{"type": "function", "function": {"name": "bash", "parameters": {}}}]


def call(name: str, arguments: str, tool: str = "bash") -> JsonObject:
    """A tool call as chat writes it."""
    return {"id": name, "type": "function", "function": {"name": tool, "arguments": arguments}}


def asked(*calls: JsonObject, say: str | None = None, reasoning: str | None = None) -> JsonObject:
    """An assistant's message."""
    made: JsonObject = {"role": "assistant", "content": say}
    if reasoning is not None:
        made["reasoning_content"] = reasoning
    if calls:
        made["tool_calls"] = list[JsonValue](calls)
    return made


def told(name: str, content: str) -> JsonObject:
    """A tool's answer."""
    return {"role": "tool", "tool_call_id": name, "content": content}


async def put(
    store: Store,
    rollout: str = "grpo-7/12/hello-world/0",
    *,
    task: str = "hello-world",
    artifacts: Mapping[str, bytes] | None = None,
    failure: Failure | None = None,
    trace: bool = True,
    earlier: bool = False,
) -> RolloutResult:
    """Write a rollout with its trace, artifacts, result and index entry.

    Args:
        earlier: whether there was an attempt before, which lost its sandbox.
    """
    attempt = f"attempt-of-{rollout.replace('/', '-')}"
    files = tuple(
        [
            Artifact(name=name, digest=await store.put_blob(content), n_bytes=len(content))
            for name, content in (artifacts or {}).items()
        ]
    )
    summary = None
    if trace:
        sealed = await _sealed(store, attempt, rollout)
        summary = summarise(sealed, undelivered=False)
    lost = Failure(stage="await_agent", cause="sandbox_lost", message="gone", retryable=True)
    record = AttemptResult(
        attempt=attempt,
        number=2 if earlier else 1,
        sandbox_id="box",
        stage="grade",
        stop_reason=StopReason.AGENT_COMPLETED,
        agent_version="1.0",
        failure=failure,
        trace=summary,
        artifacts=files,
        started_at=BEGAN,
        timings={"create_sandbox": 2.0, "set_up_sandbox": 1.0, "await_agent": 5.0, "grade": 1.5},
    )
    before = AttemptResult(
        attempt=f"{attempt}-before",
        number=1,
        stage="await_agent",
        stop_reason=StopReason.INFRASTRUCTURE,
        failure=lost,
        artifacts=files[:1],
        started_at=BEGAN - timedelta(minutes=1),
    )
    rewards = {} if failure else {"reward": 1.0, "speed": 0.25}
    digest = "a" * 64
    spec = RolloutSpec(
        id=rollout,
        task=TaskRef(name=task, digest=digest),
        # A number that only some writers of JSON take.
        agent=AgentRef(name="bash", env={"KEY": "of-the-agent"}, options={"seed": 2**70}),
        endpoint="scripted",
        experiment="grpo-7",
    )
    return await commit(
        store,
        RolloutResult(
            rollout=rollout,
            run="run",
            experiment="grpo-7",
            spec=spec,
            spec_digest=digest,
            task_digest=digest,
            agent="bash",
            agent_version="1.0",
            status=Status.FAILED if failure else Status.COMPLETED,
            stop_reason=StopReason.AGENT_COMPLETED,
            failure=failure,
            reward=rewards.get("reward"),
            rewards=rewards,
            reward_valid=failure is None,
            trace=summary,
            attempts=(before, record) if earlier else (record,),
            artifacts=files,
            started_at=BEGAN,
            ended_at=BEGAN + timedelta(seconds=10),
        ),
    )


async def _sealed(store: Store, attempt: str, rollout: str) -> Trace:
    tools = await store.put_blob(orjson.dumps(TOOLS))
    trace = Trace(
        attempt=attempt,
        rollout=rollout,
        turns=_turns(tools),
        auxiliary=(5,),
        sealed_at=BEGAN + timedelta(seconds=9),
    )
    await store.create(keys.trace(attempt), trace.model_dump_json().encode())
    return trace


def _turns(tools: str) -> tuple[Turn, ...]:
    def turn(slot: int, *messages: JsonObject, message: JsonObject, **more: object) -> Turn:
        fields: dict[str, object] = {
            "messages": messages,
            "message": message,
            "tools_digest": tools,
            "usage": Usage(input_tokens=10 * (slot + 1), output_tokens=2, cached_tokens=1),
            "started_at": BEGAN + timedelta(seconds=slot),
            "ended_at": BEGAN + timedelta(seconds=slot, milliseconds=500),
        }
        known = more.pop("tokens", None)
        tokens = known if isinstance(known, Tokens) else None
        return make_turn(slot, tokens, **(fields | more))

    system: JsonObject = {"role": "system", "content": "You have a shell."}
    task: JsonObject = {"role": "user", "content": [{"type": "text", "text": "Say <b>hello</b>."}]}
    first = asked(call("c1", '{"command": "ls"}'), say="Looking.", reasoning="Where am I?")
    second = asked(call("c2", "not json"), call("c3", '{"prompt": "look"}', "task"))
    first_tokens, second_tokens = (
        Tokens(
            source=TokenSource.ENGINE,
            prompt_ids=(1, 2, 3),
            completion_ids=(4, 5),
            logprobs=(-0.5, -0.25),
        ),
        Tokens(
            source=TokenSource.ENGINE,
            extends=0,
            prompt_ids=(6,),
            completion_ids=(7, 8),
            logprobs=(-1.0, -2.0),
        ),
    )
    return (
        turn(0, system, task, message=first, tokens=first_tokens, replayed=_REPLAYED),
        turn(
            1, first, told("c1", "a\nb"), message=second, parent=0, n_shared=2, tokens=second_tokens
        ),
        turn(2, {"role": "user", "content": "look"}, message=asked(say="Nothing here.")),
        turn(3, first, told("c1", "a\nb\nc"), message=asked(say="Else."), parent=0, n_shared=2),
        turn(
            4,
            *(second, told("c2", "no such command"), told("c3", "Nothing here.")),
            message=asked(say="Done."),
            parent=1,
            n_shared=4,
        ),
        turn(5, {"role": "user", "content": "Name this."}, message=asked(say="Hello")),
    )


_REPLAYED = Replayed(attempt="attempt-of-the-origin", slot=0)
