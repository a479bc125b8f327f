"""The recordings of ended rollouts: their attempts' session logs and traces, deleted for good.

A mark stays in the place of each, so that a reader is told. Which are old enough is decided by the
callers, `expiry.py` and `collecting.py`; results and index entries are never deleted.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from rolldock.models.collecting import RecordingDeleted
from rolldock.models.result import RolloutResult
from rolldock.store import keys
from rolldock.store.store import Store

AT_ONCE: Final = 32
"""Records that are read or deleted side by side."""
_PLAYED_AT_MOST: Final = timedelta(days=3)
"""A replay that has no result so long after it was named was never started: a rollout is over in a
day (`Limits.total_seconds`) and half a day of cleanup, once it has its sandbox."""


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


async def is_played(store: Store, rollout: str, now: datetime) -> bool:
    """Whether a replay of a rollout may be reading its recordings, or is about to.

    One that only graded has no recording of its own: its result names its origin's, and so do the
    replays of it.
    """
    async for mark in store.entries(keys.replays(rollout)):
        try:
            replay = await ended_rollout(store, mark.name.rsplit("/", 1)[1])
        except ValueError:
            return True  # of a later version: what cannot be told is left alone
        if replay is None:
            if now - mark.written_at < _PLAYED_AT_MOST:
                return True
        elif replay.spec.only_grades and (
            now - replay.ended_at < _PLAYED_AT_MOST or await is_played(store, replay.rollout, now)
        ):
            return True
    return False


async def delete_recordings(store: Store, result: RolloutResult, now: datetime) -> int:
    """Delete what the sessions of an ended rollout recorded; how many records there were.

    The mark is written first: whatever interrupts this, nobody takes what is left for a whole
    recording, and the next call deletes it.
    """
    days = max(0.0, (now - result.ended_at).total_seconds()) / timedelta(days=1).total_seconds()
    mark = RecordingDeleted(deleted_at=now, after_days=round(days, 1))
    n_deleted = 0
    for attempt in result.attempts:
        stays = keys.recording_deleted(attempt.attempt)
        names = [name async for name in store.names(keys.recording(attempt.attempt))]
        doomed = [name for name in names if name != stays]
        if doomed:
            await store.create(stays, mark.model_dump_json().encode())
            await _delete(store, doomed)
            n_deleted += len(doomed)
    return n_deleted


async def deletion(store: Store, attempt: str) -> RecordingDeleted | None:
    """When an attempt's recording was deleted; None: it was not."""
    content = await store.get(keys.recording_deleted(attempt))
    return None if content is None else RecordingDeleted.model_validate_json(content)


async def _delete(store: Store, names: Iterable[str]) -> None:
    waiting = list(names)
    for start in range(0, len(waiting), AT_ONCE):
        await asyncio.gather(*(store.delete(name) for name in waiting[start : start + AT_ONCE]))
