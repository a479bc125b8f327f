"""What of a store is freed, and what stays: recordings by age, blobs by who names them."""

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rolldock.errors import UsageError
from rolldock.models.collecting import Collection
from rolldock.models.endpoint import Endpoint
from rolldock.models.spec import TaskRef
from rolldock.results import read_result
from rolldock.store import endpoints, keys
from rolldock.store.collecting import BLOBS, HALF_WRITTEN, UNNAMED, Wanted, free, look
from rolldock.store.deployments import mark_deployment, other_deployments
from rolldock.store.marking import TASKS
from rolldock.store.store import Store
from rolldock.trainer.recordings import read_recording
from tests.ended import (
    LONG_AGO,
    conversation,
    end_rollout,
    has_recording,
    none_open,
    record,
    spec_of,
)

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
    return await look(store, Wanted(recordings_before, now - DAY, experiment), none_open)


def age(store: Store, place: str, by: timedelta) -> None:
    """Make a file, or all files below a place, so much older."""
    then = (datetime.now(UTC) - by).timestamp()
    path = Path(store.where) / place
    for file in [path, *path.rglob("*")]:
        os.utime(file, (then, then))


async def leave_session(store: Store, rollout: str) -> str:
    """A session of a rollout that has no result, with a turn that names a blob; its attempt."""
    attempt = str(uuid.uuid4())
    await record(store, attempt, spec_of(rollout), conversation(1), blob=rollout.encode())
    return attempt


async def is_open(rollout: str) -> bool:
    """What Temporal says of rollouts whose names say it."""
    return rollout == "open"


async def all_open(_: str) -> bool:
    """What Temporal says where every rollout runs again."""
    return True


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
    done = await free(store, found, none_open)
    assert (done.n_recordings, done.n_blobs, done.n_bytes) == (0, 1, len(b"nobody's"))
    left = {name.rsplit("/", 1)[1] async for name in store.names(BLOBS)}
    assert {task, tokenizer, young} < left
    assert len(left) == 4
    assert (await free(store, found, none_open)).n_blobs == 0


async def test_a_recording_goes_with_the_blobs_that_it_alone_names(store: Store) -> None:
    """The result stays, a reader is told, and what another recording names as well stays too."""
    old = await end_rollout(store, spec_of("old"), conversation(3), blob=b"alone")
    young = await end_rollout(store, spec_of("new"), conversation(1), ended_at=LATER, blob=b"both")
    also = await end_rollout(store, spec_of("also"), conversation(1), blob=b"both")
    age_all(store, 2 * DAY)
    found = await seen(store, LATER)
    assert {one.rollout for one in found.recordings} == {"old", "also"}
    done = await free(store, found, none_open)
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
    done = await free(store, found, none_open)
    assert (done.n_recordings, done.n_blobs) == (0, 0)
    assert await has_recording(store, result)
    await end_rollout(store, spec_of("b@recording-1", replay_of="b"))
    done = await free(store, await seen(store, LATER), none_open)
    assert (done.n_recordings, done.n_blobs) == (2, 1), "the replay has ended, and so has its own"


async def test_a_session_without_a_result_goes_by_its_age(store: Store) -> None:
    """With what it alone names; not that of an open rollout, nor one that is young or played; a
    result of a later version keeps its sessions, too."""
    attempts = {
        name: await leave_session(store, name)
        for name in ("lost", "open", "young", "played", "later", "other")
    }
    await store.create(keys.result("later"), b'{"attempt": "%b"}' % attempts["later"].encode())
    await store.create(keys.replay("played", "played@turn-1"), b"played@turn-1")
    other = await end_rollout(store, spec_of("other"), conversation(1))
    age_all(store, 2 * DAY)
    for name in attempts.keys() - {"young"}:
        age(store, keys.recording(attempts[name]), 2 * DAY)
    now = datetime.now(UTC)
    wanted = Wanted(now - DAY, now - DAY)
    for narrow in (Wanted(None, now - DAY), wanted._replace(experiment="one")):
        assert (await look(store, narrow, is_open)).sessions == ()
    found = await look(store, wanted, is_open)
    assert {(one.rollout, one.attempt) for one in found.sessions} == {
        ("lost", attempts["lost"]),
        ("other", attempts["other"]),
    }
    reopened = await free(store, found, all_open)
    assert (reopened.n_sessions, reopened.n_blobs) == (0, 0)
    done = await free(store, found, is_open)
    assert (done.n_recordings, done.n_sessions, done.n_blobs) == (0, 2, 2)
    left = {name.split("/")[1] async for name in store.names(keys.SESSIONS)}
    kept = {attempts[name] for name in ("open", "young", "played", "later")}
    assert left >= kept | {one.attempt for one in other.attempts}
    assert [name async for name in store.names(keys.recording(attempts["lost"]))] == [
        keys.recording_deleted(attempts["lost"])
    ]
    assert (await look(store, wanted, is_open)).sessions == ()


async def test_nothing_goes_that_another_deployment_may_need(store: Store) -> None:
    """Neither blobs nor sessions: whose they are cannot be told; old recordings have results."""
    await leave_session(store, "lost")
    age_all(store, 2 * DAY)
    age(store, keys.SESSIONS, 2 * DAY)
    await end_rollout(store, spec_of("old"), conversation(1))
    await mark_deployment(store, "ours", "default")
    now = datetime.now(UTC)
    wanted = Wanted(now - DAY, now - DAY, others=await other_deployments(store, "ours"))
    alone = await look(store, wanted, none_open)
    assert (len(alone.recordings), len(alone.sessions), len(alone.blobs)) == (1, 1, 1)
    await mark_deployment(store, "theirs", "elsewhere")
    await mark_deployment(store, "theirs", "elsewhere")
    wanted = wanted._replace(others=await other_deployments(store, "ours"))
    found = await look(store, wanted, none_open)
    assert (len(found.recordings), found.sessions, found.blobs) == (1, (), ())
    assert [one.namespace for one in found.others] == ["elsewhere"]


async def test_half_written_files_go_after_a_day(store: Store) -> None:
    """Wherever they are; one that is being written stays, and no record is taken for one."""
    await store.put_blob(b"a blob")
    await store.create(keys.result("a"), b"{}")
    for name in ("blobs/0000#17", "results/b#18", "sessions/x/000000.claim#19"):
        path = Path(store.where) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    for name in ("blobs/0000#17", "sessions/x/000000.claim#19"):
        age(store, name, 2 * DAY)
    found = await seen(store, None)
    assert {one.name for one in found.half_written} == {
        "blobs/0000#17",
        "sessions/x/000000.claim#19",
    }
    assert {one.kind: one.n_records for one in found.holdings}[HALF_WRITTEN] == 3
    done = await free(store, found, none_open)
    assert (done.n_half_written, done.n_bytes) == (2, 8)
    assert [entry.name async for entry in store.half_written()] == ["results/b#18"]
    with pytest.raises(ValueError, match="not half written"):
        await store.delete_half_written(keys.result("a"))
    assert await store.get(keys.result("a")) == b"{}"
