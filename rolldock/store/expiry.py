"""Recordings past their lifetime, found by the index and deleted a few at a time by the reaper.

It goes through the days of the index once, in order, and remembers in the store how far it came,
so that a sweep with nothing to do costs two listings. What it has to leave, since a replay plays
it, is remembered too and tried again by each sweep, and holds nobody up. An index entry that is
written for a day that was dealt with (a rollout that was ended from outside long ago) is left to
`rolldock gc`.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from rolldock.errors import UnavailableError
from rolldock.store import keys
from rolldock.store.recordings import IsOpen, delete_recordings, ended_rollout, is_played
from rolldock.store.store import Store

_DAY = timedelta(days=1)
_REMEMBERED: Final = 100
"""After so many rollouts of a day the place is written down: an interrupted sweep does no more
than these again."""


class ExpiredRecordings(NamedTuple):
    """What became of recordings past their lifetime."""

    n_deleted: int = 0
    """Rollouts whose recordings were deleted."""
    n_kept_back: int = 0
    """Rollouts whose recordings had to stay: a replay plays them, or that could not be told."""


async def delete_expired_recordings(
    store: Store, is_open: IsOpen, older_than: datetime, cap: int
) -> ExpiredRecordings:
    """Delete the recordings of rollouts that ended on a day, in UTC, which was over by then.

    Safe to run twice and side by side.

    Args:
        cap: rollouts whose recordings are deleted at most.

    Raises:
        UnavailableError: the store does not answer.
    """
    limit = older_than.astimezone(UTC).date()
    n_deleted = await _try_again(store, is_open, cap)
    n_deleted += await _go_on(store, is_open, limit, cap - n_deleted)
    kept_back = [name async for name in store.names(keys.KEPT_BACK)]
    return ExpiredRecordings(n_deleted, len(kept_back))


async def _try_again(store: Store, is_open: IsOpen, cap: int) -> int:
    """Delete what earlier sweeps had to leave, if it need not stay any longer."""
    n_deleted = 0
    async for name in store.names(keys.KEPT_BACK):
        if n_deleted >= cap:
            break
        deleted = await _expire(store, is_open, name.rsplit("/", 1)[1])
        if deleted is not None:
            await store.delete(name)
            n_deleted += deleted
    return n_deleted


async def _go_on(store: Store, is_open: IsOpen, limit: date, cap: int) -> int:
    """Delete from where the last sweep stopped; what has to stay is written down and passed by."""
    day, n_done = await _place(store, limit)
    n_deleted = 0
    while day < limit:
        listed = [name async for name in store.names(keys.index_day(f"{day}"))]
        segments = sorted(name.rsplit("/", 1)[1] for name in listed)
        for place, segment in enumerate(segments[n_done:], n_done):
            if n_deleted >= cap:
                await _remember(store, day, place)
                return n_deleted
            if place % _REMEMBERED == 0 and place > n_done:
                await _remember(store, day, place)
            deleted = await _expire(store, is_open, segment)
            if deleted is None:
                await store.create(keys.kept_back(segment), b"")
            n_deleted += bool(deleted)
        await _remember(store, day, None)
        day, n_done = day + _DAY, 0
    return n_deleted


async def _expire(store: Store, is_open: IsOpen, segment: str) -> bool | None:
    """Whether a rollout had recordings, which are deleted now; None: they have to stay."""
    try:
        result = await ended_rollout(store, segment)
    except ValueError:
        # Of a version that this one cannot read: not ours to judge, and no reason to stop here.
        return False
    if result is None:
        return False
    now = datetime.now(UTC)
    try:
        if await is_played(store, is_open, result.rollout, now):
            return None
    except UnavailableError:
        # Temporal cannot tell; a store that is away says so at the next step.
        return None
    return await delete_recordings(store, result, now) > 0


async def _remember(store: Store, day: date, n_rollouts: int | None) -> None:
    """Write down how far a sweep came, in the place of what earlier ones wrote."""
    mark = keys.expired(f"{day}", n_rollouts)
    await store.create(mark, b"")
    async for name in store.names(keys.EXPIRED):
        if name < mark:
            await store.delete(name)


async def _place(store: Store, limit: date) -> tuple[date, int]:
    """The day to go on with, and how many of its rollouts are done."""
    marks = [name async for name in store.names(keys.EXPIRED)]
    if marks:
        _, day, done = max(marks).split("/")
        if done == keys.EXPIRED_ALL:
            return date.fromisoformat(day) + _DAY, 0
        return date.fromisoformat(day), int(done)
    days = {name.split("/")[1] async for name in store.names(keys.INDEX)}
    first = min((date.fromisoformat(day) for day in days), default=limit)
    if first >= limit:
        await store.create(keys.expired(f"{limit - _DAY}", None), b"")
    return min(first, limit), 0
