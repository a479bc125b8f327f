"""Which recordings past their lifetime a sweep deletes, and how it goes on after what it cannot."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rolldock.errors import UnavailableError
from rolldock.store import keys
from rolldock.store.expiry import ExpiredRecordings, delete_expired_recordings
from rolldock.store.recordings import deletion
from rolldock.store.store import Store
from tests.ended import LONG_AGO, conversation, end_rollout, has_recording, spec_of

DAY = timedelta(days=1)
LATER = LONG_AGO + 30 * DAY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path))


async def says_its_name(rollout: str) -> bool:
    """Rollouts whose names say what Temporal says of them."""
    if rollout == "unreachable":
        raise UnavailableError("Temporal is away")
    return rollout.startswith("open")


async def expire(store: Store, limit: datetime, cap: int = 100) -> ExpiredRecordings:
    """One sweep."""
    return await delete_expired_recordings(store, says_its_name, limit, cap)


async def test_expired_recordings_are_deleted_day_by_day(store: Store) -> None:
    """A few at a time, by the index; what is left young is found when its day comes."""
    ended = [
        await end_rollout(
            store, spec_of(f"r{day}/{number}"), conversation(1), ended_at=LONG_AGO + day * DAY
        )
        for day in range(3)
        for number in range(3)
    ]
    limit = LONG_AGO + 2 * DAY
    n_deleted = [(await expire(store, limit, cap)).n_deleted for cap in (2, 2, 100, 100)]
    assert n_deleted == [2, 2, 2, 0]
    left = [result.rollout for result in ended if await has_recording(store, result)]
    assert left == ["r2/0", "r2/1", "r2/2"]
    both = await asyncio.gather(*(expire(store, limit + DAY) for _ in range(2)))
    assert max(both).n_deleted > 0
    assert not any([await has_recording(store, result) for result in ended])
    mark = await deletion(store, ended[0].attempts[0].attempt)
    assert mark is not None
    assert mark.after_days > 0


async def test_what_a_replay_plays_holds_nobody_up(store: Store) -> None:
    """It is passed by, told, and deleted once the replay has its result."""
    results = [await end_rollout(store, spec_of(name), conversation(1)) for name in "abc"]
    await store.create(keys.replay("b", "b@turn-1"), b"b@turn-1")
    assert await expire(store, LATER) == (2, 1)
    assert [await has_recording(store, result) for result in results] == [False, True, False]
    assert await expire(store, LATER) == (0, 1)
    await end_rollout(store, spec_of("b@turn-1", replay_of="b"), ended_at=LATER)
    assert await expire(store, LATER) == (1, 0)
    assert not await has_recording(store, results[1])


async def test_temporal_says_how_long_a_replay_plays(store: Store) -> None:
    """An open one for however long; one that nobody can tell of as well; else three days."""
    results = [await end_rollout(store, spec_of(name), conversation(1)) for name in "abc"]
    for origin, replay in (("a", "open/replay"), ("b", "unreachable"), ("c", "terminated")):
        await store.create(keys.replay(origin, replay), replay.encode())
        named_at = (datetime.now(UTC) - 4 * DAY).timestamp()
        os.utime(Path(store.where) / keys.replay(origin, replay), (named_at, named_at))
    assert await expire(store, LATER) == (1, 2)
    assert [await has_recording(store, result) for result in results] == [True, True, False]


async def test_an_interrupted_sweep_goes_on_from_near_its_end(store: Store) -> None:
    """Every so many rollouts the place is written down, and what was written before goes."""
    for number in range(230):
        await store.create(keys.index(LONG_AGO, "exp", f"{number:03}"), b"")
    await end_rollout(store, spec_of("last", experiment="exp"))
    await store.create(keys.replay("last", "last@turn-1"), b"last@turn-1")
    named_at = (datetime.now(UTC) - 4 * DAY).timestamp()
    os.utime(Path(store.where) / keys.replay("last", "last@turn-1"), (named_at, named_at))

    async def dies(_: str) -> bool:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await delete_expired_recordings(store, dies, LATER, cap=1)
    assert [name async for name in store.names(keys.EXPIRED)] == ["expired/2026-01-02/000000200"]


async def test_expiry_of_an_empty_store_lists_little(store: Store) -> None:
    """Nothing is older: remembered, so that the next look needs no index."""
    assert await expire(store, LATER) == (0, 0)
    assert [name async for name in store.names(keys.EXPIRED)] == ["expired/2026-01-31/all"]
    await end_rollout(store, spec_of("a"), conversation(1), ended_at=LATER)
    assert await expire(store, LATER + DAY) == (1, 0)
