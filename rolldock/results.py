"""From attempts to the result record: what is believed, what is trained on, what a list shows.

The rules are pure; `commit` writes what they give, once.
"""

from datetime import datetime
from typing import Final

from rolldock.harbor.reward import single_reward
from rolldock.models.result import IndexEntry, RolloutResult, Status, StopReason
from rolldock.models.spec import Purpose
from rolldock.models.stages import SealRequest
from rolldock.store import keys
from rolldock.store.store import Store
from rolldock.trainable import REPLAYED

_ENTRY_BYTES: Final = 1000
"""Of an index entry: lists read thousands."""

_NOT_TRAINED_ON: Final = frozenset({StopReason.AGENT_TIMEOUT, StopReason.CONTEXT_LENGTH})
"""Endings that say more about a limit than about the policy; the design's default."""


def build_result(request: SealRequest, ended_at: datetime) -> RolloutResult:
    """The result of a rollout whose last attempt is `request.attempt`."""
    spec, last = request.order.spec, request.attempt
    completed = request.status is Status.COMPLETED
    rewards = request.rewards if completed else {}
    because = _not_trainable_because(request)
    return RolloutResult(
        rollout=request.order.rollout,
        run=request.order.run,
        experiment=spec.experiment,
        group=spec.group,
        spec=spec,
        spec_digest=request.order.spec_digest,
        task_digest=spec.task.digest,
        agent=spec.agent.name,
        agent_version=last.agent_version,
        status=request.status,
        stop_reason=last.stop_reason,
        failure=last.failure,
        reward=single_reward(rewards),
        rewards=rewards,
        reward_valid=completed,
        trainable=because is None,
        not_trainable_because=because,
        trace=last.trace,
        attempts=(*request.earlier, last),
        artifacts=last.artifacts,
        timings={**last.timings, "total": (ended_at - request.started_at).total_seconds()},
        started_at=request.started_at,
        ended_at=ended_at,
    )


def index_entry(result: RolloutResult) -> IndexEntry:
    """What lists show of a result; the task's name is cut where all names together are too long.

    Tokens are those of all attempts, turns those of the last one.
    """
    trace = result.trace
    # Attempts that only grade name one trace, an earlier rollout's: it counts once.
    traces = {one.trace.ref: one.trace for one in result.attempts if one.trace is not None}
    entry = IndexEntry(
        rollout=result.rollout,
        experiment=result.experiment,
        group=result.group,
        task=result.spec.task.name,
        agent=result.agent,
        endpoint=result.spec.endpoint,
        status=result.status,
        stop_reason=result.stop_reason,
        cause=str(result.failure.cause) if result.failure else None,
        failed_in=result.failure.stage if result.failure else None,
        reward=result.reward,
        replay_of=result.spec.replay_of,
        n_turns=trace.n_turns if trace else 0,
        input_tokens=sum(one.input_tokens for one in traces.values()),
        output_tokens=sum(one.output_tokens for one in traces.values()),
        seconds=round(result.timings.get("total", 0), 3),
        ended_at=result.ended_at,
    )
    excess = len(entry.model_dump_json().encode()) - _ENTRY_BYTES
    if excess <= 0:
        return entry
    task = entry.task.encode()
    kept = task[: max(0, len(task) - excess)].decode(errors="ignore")
    return entry.model_copy(update={"task": kept})


def _not_trainable_because(request: SealRequest) -> str | None:
    """Why a rollout must not be trained on; None: it may be."""
    spec, last = request.order.spec, request.attempt
    if spec.purpose is not Purpose.TRAIN:
        return "its purpose is evaluation"
    if request.status is not Status.COMPLETED:
        return f"it is {request.status}: it has no reward"
    if last.stop_reason in _NOT_TRAINED_ON:
        return f"it ended by {last.stop_reason}"
    if last.trace_error is not None:
        return f"its trace could not be sealed: {last.trace_error}"
    if last.trace is None or last.trace.n_turns == 0:
        return "no model was called"
    if last.trace.n_replayed == last.trace.n_turns:
        return REPLAYED
    if spec.sampling.temperature is None:
        return "its temperature is not pinned: set sampling.temperature"
    if last.trace.untrainable is not None:
        return last.trace.untrainable
    if last.trace.n_samples == 0:
        return "it gives no sample: no turn has token ids and a sampled token"
    return None


def read_result(content: bytes) -> RolloutResult:
    """A stored result, whichever version wrote it: fields that are not known yet are kept.

    The spec in it is a contract, which would refuse them.
    """
    return RolloutResult.model_validate_json(content, extra="allow")


def without_artifacts(result: RolloutResult) -> RolloutResult:
    """A result as workflow history holds it: the references of files are in the stored one."""
    attempts = tuple(one.model_copy(update={"artifacts": ()}) for one in result.attempts)
    return result.model_copy(update={"artifacts": (), "attempts": attempts})


async def commit(store: Store, result: RolloutResult) -> RolloutResult:
    """Write the result and its index entry; the result that stands, this one or an earlier one."""
    name = keys.result(result.rollout)
    if not await store.create(name, result.model_dump_json().encode()):
        written = await store.get(name)
        if written is not None:
            result = read_result(written)
    entry = keys.index(result.ended_at, result.experiment, result.rollout)
    await store.create(entry, index_entry(result).model_dump_json().encode())
    return result
