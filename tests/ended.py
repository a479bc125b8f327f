"""Ended rollouts in a store, sealed and committed by the code that does it for real ones.

Their session logs are written as the gateway writes them, from turns of `tests/recording.py`. It
starts no server.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rolldock.gateway.session_log import SessionLog
from rolldock.models.failure import Cause, Failure
from rolldock.models.result import AttemptResult, RolloutResult, Stage, Status, StopReason
from rolldock.models.session import EndReason, Session, TurnClaim, TurnReply
from rolldock.models.spec import AgentRef, RolloutSpec, TaskRef
from rolldock.models.stages import Order, SealRequest
from rolldock.models.turn import Turn
from rolldock.sealing import seal_rollout
from rolldock.store import keys
from rolldock.store.store import Store
from tests.recording import Recording

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def spec_of(rollout: str, **fields: Any) -> RolloutSpec:
    """A small spec of the bash agent."""
    known: dict[str, Any] = {
        "id": rollout,
        "task": TaskRef(name="task", digest="0" * 64),
        "agent": AgentRef(name="bash"),
        "endpoint": "model",
    }
    return RolloutSpec.model_validate(known | fields)


def conversation(n_turns: int) -> list[Turn]:
    """A plain conversation: each turn continues the one before it."""
    recording = Recording()
    for number in range(n_turns):
        recording.say(number - 1 if number else None, [number])
    return list(recording.turns.values())


async def none_open(rollout: str) -> bool:
    """What Temporal says where every rollout has ended."""
    return not rollout


async def end_rollout(
    store: Store,
    spec: RolloutSpec,
    turns: Sequence[Turn] = (),
    *,
    ended_at: datetime = LONG_AGO,
    cause: Cause | None = None,
    blob: bytes | None = None,
) -> RolloutResult:
    """A rollout with one attempt that has recorded these turns, and its result.

    Args:
        cause: why it failed; None: it was graded 1.
        blob: stored, and named by the first turn as the tools that it was asked with.
    """
    attempt = str(uuid.uuid4())
    if spec.endpoint is not None:
        await record(store, attempt, spec, turns, blob=blob, at=ended_at)
    failure = None
    if cause is not None:
        failure = Failure(stage=Stage.GRADE, cause=cause, message="it broke", retryable=True)
    request = SealRequest(
        order=Order(
            rollout=spec.id,
            run="run",
            attempt=attempt,
            number=1,
            spec=spec,
            spec_digest="0" * 64,
            deadline=ended_at,
        ),
        attempt=AttemptResult(
            attempt=attempt,
            number=1,
            stage=Stage.GRADE,
            stop_reason=StopReason.AGENT_COMPLETED,
            failure=failure,
            started_at=ended_at - timedelta(seconds=10),
        ),
        last=True,
        status=Status.COMPLETED if cause is None else Status.FAILED,
        rewards={} if cause else {"reward": 1.0},
        started_at=ended_at - timedelta(seconds=10),
    )
    return await seal_rollout(store, request, ended_at)


async def record(
    store: Store,
    attempt: str,
    spec: RolloutSpec,
    turns: Sequence[Turn],
    *,
    blob: bytes | None = None,
    at: datetime = LONG_AGO,
) -> None:
    """The session log of an attempt with these turns, ended.

    Args:
        blob: stored, and named by the first turn as the tools that it was asked with.
    """
    digest = None if blob is None else await store.put_blob(blob)
    log = SessionLog(store, attempt)
    await log.open(
        Session(
            attempt=attempt,
            rollout=spec.id,
            endpoint=spec.endpoint or "none",
            expires_at=at,
            created_at=at,
        )
    )
    for turn in turns:
        claim = TurnClaim(gateway="gateway", request_digest="0" * 64, claimed_at=at)
        await log.claim(turn.slot, claim)
        changes = {"tools_digest": digest} if turn.slot == 0 else {}
        await log.answer(turn.slot, TurnReply(turn=turn.model_copy(update=changes)))
        await log.mark_delivered(turn.slot)
    await log.end(EndReason.STOPPED, by="test")


async def has_recording(store: Store, result: RolloutResult) -> bool:
    """Whether anything is left of what was recorded, besides the mark."""
    for attempt in result.attempts:
        names = [name async for name in store.names(keys.recording(attempt.attempt))]
        if set(names) - {keys.recording_deleted(attempt.attempt)}:
            return True
    return False
