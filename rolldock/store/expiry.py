"""Recordings past their lifetime, found by the index and deleted a few at a time by the reaper.

It goes through the days of the index once, in order, and remembers in the store how far it came,
so that a sweep with nothing to do costs one listing. An index entry that is written for a day that
was dealt with (a rollout that was ended from outside long ago) is left to `rolldock gc`.
"""

from datetime import UTC, date, datetime, timedelta

from rolldock.store import keys
from rolldock.store.recordings import delete_recordings, ended_rollout, is_played
from rolldock.store.store import Store

_DAY = timedelta(days=1)


async def delete_expired_recordings(store: Store, older_than: datetime, cap: int) -> int:
    """Delete the recordings of rollouts that ended on a day, in UTC, which was over by then.

    Safe to run twice and side by side. It stops before a rollout that a replay plays, and goes on
    from there next time.

    Args:
        cap: rollouts whose recordings are deleted at most.

    Returns:
        Of how many rollouts they were deleted.

    Raises:
        UnavailableError: the store does not answer.
    """
    limit = older_than.astimezone(UTC).date()
    day, n_done = await _place(store, limit)
    n_deleted = 0
    while day < limit:
        listed = [name async for name in store.names(keys.index_day(f"{day}"))]
        segments = sorted(name.rsplit("/", 1)[1] for name in listed)
        for place, segment in enumerate(segments[n_done:], n_done):
            deleted = await _expire(store, segment) if n_deleted < cap else None
            if deleted is None:
                await store.create(keys.expired(f"{day}", place), b"")
                return n_deleted
            n_deleted += deleted
        await store.create(keys.expired(f"{day}", None), b"")
        day, n_done = day + _DAY, 0
    return n_deleted


async def _expire(store: Store, segment: str) -> bool | None:
    """Whether a rollout had recordings, which are deleted now; None: they have to stay."""
    try:
        result = await ended_rollout(store, segment)
    except ValueError:
        # Of a version that this one cannot read: not ours to judge, and no reason to stop here.
        return False
    if result is None:
        return False
    now = datetime.now(UTC)
    if await is_played(store, result.rollout, now):
        return None
    return await delete_recordings(store, result, now) > 0


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
