"""What of a store is freed, and what stays: recordings by age, blobs by who names them."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rolldock.errors import UsageError
from rolldock.models.collecting import Collection
from rolldock.models.endpoint import Endpoint
from rolldock.models.result import RolloutResult
from rolldock.models.spec import TaskRef
from rolldock.results import read_result
from rolldock.store import endpoints, keys
from rolldock.store.collecting import BLOBS, UNNAMED, Wanted, free, look
from rolldock.store.expiry import delete_expired_recordings
from rolldock.store.marking import TASKS
from rolldock.store.recordings import deletion
from rolldock.store.store import Store
from rolldock.trainer.recordings import read_recording
from tests.ended import LONG_AGO, conversation, end_rollout, spec_of

DAY = timedelta(days=1)
LATER = LONG_AGO + 30 * DAY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path))


def age_all(store: Store, by: timedelta) -> None:
    """Make all blobs so much older."""
    then = (datetime.now(UTC) - by).timestamp()
    for blob in (Path(store.where) / BLOBS).iterdir():
        os.utime(blob, (then, then))


async def seen(
    store: Store, recordings_before: datetime | None, experiment: str | None = None
) -> Collection:
    """A look by which blobs may go after a day."""
    now = datetime.now(UTC)
    return await look(store, Wanted(recordings_before, now - DAY, experiment))


async def has_recording(store: Store, result: RolloutResult) -> bool:
    """Whether anything is left of what was recorded, besides the mark."""
    for attempt in result.attempts:
        names = [name async for name in store.names(keys.recording(attempt.attempt))]
        if set(names) - {keys.recording_deleted(attempt.attempt)}:
            return True
    return False


async def test_only_what_nothing_names_is_swept(store: Store) -> None:
    """Tasks, logs, bodies of recorded calls and tokenizers stay; young ones in any case."""
    task = await store.put_blob(b"bundle")
    tokenizer = await store.put_blob(b"tokenizer")
    loose = await store.put_blob(b"nobody's")
    spec = spec_of("a", task=TaskRef(name="task", digest=task))
    await end_rollout(store, spec, conversation(2), blob=b"tools")
    endpoint = Endpoint(
        name="model",
        version=1,
        replicas=("http://127.0.0.1:1/v1",),
        model="model",
        tokenizer_digest=tokenizer,
        created_at=LONG_AGO,
    )
    await endpoints.add(store, endpoint)
    assert (await seen(store, None)).blobs == ()
    age_all(store, 2 * DAY)
    young = await store.put_blob(b"young")
    found = await seen(store, None)
    assert [blob.digest for blob in found.blobs] == [loose]
    kinds = {one.kind: one.n_records for one in found.holdings}
    assert (kinds[TASKS], kinds[UNNAMED]) == (1, 2)
    assert {"results", "index", "session logs", "traces", "endpoints"} <= set(kinds)
    done = await free(store, found)
    assert (done.n_recordings, done.n_blobs, done.n_bytes) == (0, 1, len(b"nobody's"))
    left = {name.rsplit("/", 1)[1] async for name in store.names(BLOBS)}
    assert {task, tokenizer, young} < left
    assert len(left) == 4
    assert (await free(store, found)).n_blobs == 0


async def test_a_recording_goes_with_the_blobs_that_it_alone_names(store: Store) -> None:
    """The result stays, a reader is told, and what another recording names as well stays too."""
    old = await end_rollout(store, spec_of("old"), conversation(3), blob=b"alone")
    young = await end_rollout(store, spec_of("new"), conversation(1), ended_at=LATER, blob=b"both")
    also = await end_rollout(store, spec_of("also"), conversation(1), blob=b"both")
    age_all(store, 2 * DAY)
    found = await seen(store, LATER)
    assert {one.rollout for one in found.recordings} == {"old", "also"}
    done = await free(store, found)
    assert (done.n_recordings, done.n_blobs) == (2, 1)
    assert done.n_bytes > len(b"alone")
    assert not await has_recording(store, old)
    assert not await has_recording(store, also)
    assert await has_recording(store, young)
    kept = await store.get(keys.result("old"))
    assert kept is not None
    result = read_result(kept)
    assert result == old
    assert result.trace is not None
    with pytest.raises(UsageError, match=r"recording of rollout 'old' was deleted after \d+"):
        await read_recording(store, "old", result.trace)
    assert (await seen(store, LATER)).recordings == ()


async def test_only_an_experiments_recordings_go(store: Store) -> None:
    """With an experiment named, those of the others stay."""
    await end_rollout(store, spec_of("a", experiment="one"), conversation(1))
    await end_rollout(store, spec_of("b", experiment="two"), conversation(1))
    found = await seen(store, LATER, experiment="two")
    assert [one.rollout for one in found.recordings] == ["b"]


async def test_what_a_replay_plays_stays(store: Store) -> None:
    """Also if it began after the look, and with the blobs that are named there."""
    await end_rollout(store, spec_of("a"), conversation(1), blob=b"tools a")
    result = await end_rollout(store, spec_of("b"), conversation(1), blob=b"tools b")
    age_all(store, 2 * DAY)
    await store.create(keys.replay("a", "a@recording-1"), b"a@recording-1")
    found = await seen(store, LATER)
    assert [one.rollout for one in found.recordings] == ["b"]
    await store.create(keys.replay("b", "b@recording-1"), b"b@recording-1")
    done = await free(store, found)
    assert (done.n_recordings, done.n_blobs) == (0, 0)
    assert await has_recording(store, result)
    await end_rollout(store, spec_of("b@recording-1", replay_of="b"))
    done = await free(store, await seen(store, LATER))
    assert (done.n_recordings, done.n_blobs) == (2, 1), "the replay has ended, and so has its own"


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
    assert await delete_expired_recordings(store, limit, cap=2) == 2
    assert await delete_expired_recordings(store, limit, cap=2) == 2
    assert await delete_expired_recordings(store, limit, cap=100) == 2
    assert await delete_expired_recordings(store, limit, cap=100) == 0
    left = [result.rollout for result in ended if await has_recording(store, result)]
    assert left == ["r2/0", "r2/1", "r2/2"]
    both = await asyncio.gather(
        *(delete_expired_recordings(store, limit + DAY, cap=100) for _ in range(2))
    )
    assert max(both) > 0
    assert not any([await has_recording(store, result) for result in ended])
    mark = await deletion(store, ended[0].attempts[0].attempt)
    assert mark is not None
    assert mark.after_days > 0


async def test_expiry_waits_for_a_replay(store: Store) -> None:
    """It goes on from there once the replay has its result."""
    results = [await end_rollout(store, spec_of(name), conversation(1)) for name in "abc"]
    await store.create(keys.replay("b", "b@turn-1"), b"b@turn-1")
    assert await delete_expired_recordings(store, LATER, cap=100) == 1
    assert [await has_recording(store, result) for result in results] == [False, True, True]
    assert await delete_expired_recordings(store, LATER, cap=100) == 0
    await end_rollout(store, spec_of("b@turn-1", replay_of="b"), ended_at=LATER)
    assert await delete_expired_recordings(store, LATER, cap=100) == 2


async def test_expiry_of_an_empty_store_lists_little(store: Store) -> None:
    """Nothing is older: remembered, so that the next look needs no index."""
    assert await delete_expired_recordings(store, LATER, cap=1) == 0
    assert [name async for name in store.names(keys.EXPIRED)] == ["expired/2026-01-31/all"]
    await end_rollout(store, spec_of("a"), conversation(1), ended_at=LATER)
    assert await delete_expired_recordings(store, LATER + DAY, cap=1) == 1
