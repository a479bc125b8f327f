"""The recordings of ended rollouts: their attempts' session logs and traces, deleted for good.

A mark stays in the place of each, so that a reader is told. Which are old enough is decided by the
callers, `expiry.py` and `collecting.py`; results and index entries are never deleted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from rolldock.errors import StageError
from rolldock.models.collecting import RecordingDeleted
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult
from rolldock.store import keys
from rolldock.store.store import Store

AT_ONCE: Final = 32
"""Records that are read or deleted side by side."""
_PLAYED_AT_MOST: Final = timedelta(days=3)
"""A replay that has no result so long after it was named was never started: a rollout is over in a
day (`Limits.total_seconds`) and half a day of cleanup, once it has its sandbox. Temporal does not
know one that is only about to be started, nor one of another deployment."""

IsOpen = Callable[[str], Awaitable[bool]]
"""Whether Temporal has an open run of a rollout; raises UnavailableError where that cannot be told.
"""


class RecordingDeletedError(StageError):
    """Raised where a deleted recording would be gone on with, as by a rollout that was reset; its
    rollout's result stands."""

    def __init__(self, attempt: str, gone: RecordingDeleted) -> None:
        super().__init__(
            Cause.REPLAY_UNAVAILABLE,
            f"the recording of attempt {attempt} was deleted at {gone.deleted_at:%Y-%m-%d %H:%M} "
            "UTC, after its rollout had ended, and cannot be gone on with: start the rollout "
            "under a new id, or replay it from its start",
        )


async def ended_rollout(store: Store, segment: str) -> RolloutResult | None:
    """The result in the place that an index entry's last segment names; None: it is gone.

    Raises:
        UnavailableError: the store does not answer.
        ValueError: it cannot be read.
    """
    content = await store.get(f"{keys.RESULTS}/{segment}")
    if content is None:
        return None
    # A later version's spec may have fields that this one does not know.
    return RolloutResult.model_validate_json(content, extra="allow")


async def is_played(store: Store, is_open: IsOpen, rollout: str, now: datetime) -> bool:
    """Whether a replay of a rollout may be reading its recordings, or is about to.

    One that only graded has no recording of its own: its result names its origin's, and so do the
    replays of it.

    Raises:
        UnavailableError: the store does not answer, or Temporal cannot tell.
    """
    async for mark in store.entries(keys.replays(rollout)):
        try:
            replay = await ended_rollout(store, mark.name.rsplit("/", 1)[1])
        except ValueError:
            return True  # of a later version: what cannot be told is left alone
        if replay is None:
            named = await store.get(mark.name)
            if now - mark.written_at < _PLAYED_AT_MOST or (
                named is not None and await is_open(named.decode())
            ):
                return True
        elif replay.spec.only_grades and (
            now - replay.ended_at < _PLAYED_AT_MOST
            or await is_played(store, is_open, replay.rollout, now)
        ):
            return True
    return False


async def delete_recordings(store: Store, result: RolloutResult, now: datetime) -> int:
    """Delete what the sessions of an ended rollout recorded; how many records there were.

    Safe to run twice, or to be interrupted: see `delete_recording`.
    """
    n_deleted = 0
    for attempt in result.attempts:
        n_deleted += await delete_recording(store, attempt.attempt, result.ended_at, now)
    return n_deleted


async def delete_recording(store: Store, attempt: str, ended_at: datetime, now: datetime) -> int:
    """Delete what the session of one attempt recorded; how many records there were.

    The mark is written first: whatever interrupts this, nobody takes what is left for a whole
    recording, and the next call deletes it.
    """
    days = max(0.0, (now - ended_at).total_seconds()) / timedelta(days=1).total_seconds()
    mark = RecordingDeleted(deleted_at=now, after_days=round(days, 1))
    stays = keys.recording_deleted(attempt)
    names = [name async for name in store.names(keys.recording(attempt))]
    doomed = [name for name in names if name != stays]
    if doomed:
        await store.create(stays, mark.model_dump_json().encode())
        await _delete(store, doomed)
    return len(doomed)


async def deletion(store: Store, attempt: str) -> RecordingDeleted | None:
    """When an attempt's recording was deleted; None: it was not."""
    content = await store.get(keys.recording_deleted(attempt))
    return None if content is None else RecordingDeleted.model_validate_json(content)


async def refuse_deleted(store: Store, attempt: str) -> None:
    """Refuse to record, or to seal, where only the mark is left.

    Raises:
        RecordingDeletedError: the attempt's recording was deleted.
        UnavailableError: the store does not answer.
    """
    gone = await deletion(store, attempt)
    if gone is not None:
        raise RecordingDeletedError(attempt, gone)


async def _delete(store: Store, names: Iterable[str]) -> None:
    waiting = list(names)
    for start in range(0, len(waiting), AT_ONCE):
        await asyncio.gather(*(store.delete(name) for name in waiting[start : start + AT_ONCE]))
