"""What can be deleted of a store, in a directory and over obstore, and what keeps a blob."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore

from rolldock.store.backend import Backend
from rolldock.store.directory import Directory
from rolldock.store.objects import Objects
from rolldock.store.store import BLOB_GRACE, Store

DAY = timedelta(days=1)


@pytest.fixture(params=["directory", "objects"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Either backend on the same directory."""
    return Directory(tmp_path) if request.param == "directory" else Objects(LocalStore(tmp_path))


@pytest.fixture(params=["{}", "file://{}"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store on either backend, as a process opens it."""
    return Store.open(str(request.param).format(tmp_path))


def age(directory: Path, name: str, by: timedelta) -> None:
    """Make a record so much older."""
    then = (datetime.now(UTC) - by).timestamp()
    os.utime(directory / name, (then, then))


async def test_an_entry_has_size_and_age(backend: Backend, tmp_path: Path) -> None:
    """A record alone and in a listing; what is not there has none."""
    await backend.create("a/b", b"12345")
    age(tmp_path, "a/b", DAY)
    found = await backend.entry("a/b")
    assert found is not None
    assert (found.name, found.n_bytes) == ("a/b", 5)
    assert DAY <= datetime.now(UTC) - found.written_at < DAY + timedelta(minutes=1)
    assert [entry async for entry in backend.entries("a")] == [found]
    assert await backend.entry("a/c") is None
    assert [entry async for entry in backend.entries("b")] == []


async def test_a_deleted_record_is_gone(backend: Backend) -> None:
    """It can be deleted twice, and created anew."""
    await backend.create("a/b", b"first")
    await backend.delete("a/b")
    await backend.delete("a/b")
    assert await backend.get("a/b") is None
    assert await backend.create("a/b", b"second")
    assert await backend.get("a/b") == b"second"


async def test_only_what_is_old_is_deleted(backend: Backend, tmp_path: Path) -> None:
    """A record that was written or renewed at the time or later stays, as it was."""
    than = datetime.now(UTC) - DAY
    for name in ("x/old", "x/renewed", "x/young"):
        await backend.create(name, b"content")
    age(tmp_path, "x/old", 2 * DAY)
    age(tmp_path, "x/renewed", 2 * DAY)
    await backend.renew("x/renewed", b"content")
    deleted = [
        await backend.delete_unless_newer(f"x/{name}", than)
        for name in ("old", "renewed", "young", "absent")
    ]
    assert deleted == [True, False, False, False]
    assert await backend.get("x/old") is None
    assert await backend.get("x/renewed") == await backend.get("x/young") == b"content"
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["renewed", "young"]


async def test_renewing_what_was_just_deleted_writes_it(backend: Backend) -> None:
    """Who renews a record finds it there afterwards, whatever came in between."""
    await backend.renew("a/b", b"content")
    assert await backend.get("a/b") == b"content"


async def test_a_blob_that_is_renewed_while_it_is_deleted_stays(tmp_path: Path) -> None:
    """In a directory there is no moment in which both are told that they were first."""
    directory, rounds = Directory(tmp_path), 200
    for number in range(rounds):
        name = f"blobs/{number}"
        await directory.create(name, b"content")
        age(tmp_path, name, 2 * DAY)
        await asyncio.gather(
            asyncio.to_thread(asyncio.run, directory.renew(name, b"content")),
            asyncio.to_thread(
                asyncio.run, directory.delete_unless_newer(name, datetime.now(UTC) - DAY)
            ),
        )
        assert await directory.get(name) == b"content"


async def test_storing_an_old_blob_again_makes_it_young(store: Store, tmp_path: Path) -> None:
    """So there is time to write the record that names it: a sweep leaves it alone."""
    digest = await store.put_blob(b"logs")
    age(tmp_path, f"blobs/{digest}", 2 * DAY)
    another = Store.open(store.where)
    assert await another.put_blob(b"logs") == digest
    assert not await store.delete_blob(digest, unless_newer=datetime.now(UTC) - BLOB_GRACE)
    assert await store.get_blob(digest) == b"logs"


async def test_a_held_blob_is_as_young_as_a_stored_one(store: Store, tmp_path: Path) -> None:
    """Without its content at hand; one that is gone cannot be held."""
    digest = await store.put_blob(b"bundle")
    age(tmp_path, f"blobs/{digest}", 2 * DAY)
    another = Store.open(store.where)
    assert await another.hold_blob(digest)
    assert not await store.delete_blob(digest, unless_newer=datetime.now(UTC) - BLOB_GRACE)
    assert not await store.hold_blob("0" * 64)
    await store.delete(f"blobs/{digest}")
    assert await another.hold_blob(digest), "a process takes for granted what it held just now"
    assert not await Store.open(store.where).hold_blob(digest)


async def test_an_old_blob_is_deleted(store: Store, tmp_path: Path) -> None:
    """One that nobody has stored or held for the grace period."""
    digest = await store.put_blob(b"logs")
    age(tmp_path, f"blobs/{digest}", 2 * DAY)
    assert await store.delete_blob(digest, unless_newer=datetime.now(UTC) - BLOB_GRACE)
    with pytest.raises(KeyError):
        await store.get_blob(digest)
