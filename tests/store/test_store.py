"""The store's one primitive and what is built on it, on a directory."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from rolldock.errors import UnavailableError, UsageError
from rolldock.store.store import Store

N_WRITERS = 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path / "store"))


async def test_of_many_writers_exactly_one_wins(store: Store) -> None:
    """32 create the same name at once: one is told that it wrote, and its content is there."""
    contents = [f"writer {number}".encode() * 1000 for number in range(N_WRITERS)]
    won = await asyncio.gather(*(store.create("sessions/a/000000.claim", c) for c in contents))
    assert won.count(True) == 1
    assert await store.get("sessions/a/000000.claim") == contents[won.index(True)]


async def test_writers_of_several_processes_agree(tmp_path: Path) -> None:
    """Stores opened one by one on the same directory see one winner for each of many names."""
    stores = [Store.open(str(tmp_path)) for _ in range(4)]
    for number in range(20):
        name = f"x/{number:06}"
        won = await asyncio.gather(*(one.create(name, bytes([n])) for n, one in enumerate(stores)))
        assert won.count(True) == 1
        assert {await one.get(name) for one in stores} == {bytes([won.index(True)])}


async def test_a_second_create_changes_nothing(store: Store) -> None:
    """The first content stands, whatever the second one is."""
    assert await store.create("a", b"first")
    assert not await store.create("a", b"second")
    assert not await store.create("a", b"first")
    assert await store.get("a") == b"first"


async def test_an_absent_record_is_none(store: Store) -> None:
    """Neither a missing name nor a missing directory is an error."""
    assert await store.get("nothing/here") is None
    assert [name async for name in store.names("nothing")] == []


async def test_an_empty_record_exists(store: Store) -> None:
    """A mark without content is there all the same."""
    assert await store.create("mark", b"")
    assert await store.get("mark") == b""


async def test_names_are_listed_by_whole_segments(store: Store) -> None:
    """`a/b` lists what is below it, and not what is below `a/bc`."""
    for name in ("a/b/1", "a/b/2/3", "a/bc/4"):
        await store.create(name, b"")
    assert sorted([name async for name in store.names("a/b")]) == ["a/b/1", "a/b/2/3"]


async def test_names_can_go_on_after_a_name(store: Store) -> None:
    """A listing that goes on leaves out what was seen."""
    for number in range(5):
        await store.create(f"a/{number}", b"")
    assert sorted([name async for name in store.names("a", after="a/2")]) == ["a/3", "a/4"]


async def test_a_blob_is_found_by_its_digest(store: Store) -> None:
    """The name of a blob is the SHA-256 of its content; storing it twice is no error."""
    content = b"\0" * 100_000
    digest = await store.put_blob(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert await store.put_blob(content) == digest
    assert await store.get_blob(digest) == content


async def test_a_missing_blob_is_named(store: Store) -> None:
    """The error says which blob, and where it was looked for."""
    with pytest.raises(KeyError, match=f"{'0' * 64} is not in the store {store.where}"):
        await store.get_blob("0" * 64)


async def test_an_unusable_store_is_one_line(store: Store, tmp_path: Path) -> None:
    """What cannot be read is unavailable, not absent, and says so without a dump."""
    (tmp_path / "store" / "file").write_bytes(b"")
    with pytest.raises(UnavailableError) as raised:
        await store.create("file/below", b"")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"store {store.where}: file/below: ")


@pytest.mark.parametrize("where", ["foo://bar", "s3://", "{}/file/below"])
def test_a_store_that_cannot_be_opened_is_named(where: str, tmp_path: Path) -> None:
    """One line with the value and the mend."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="set ROLLDOCK_STORE") as raised:
        Store.open(where.format(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_new_directory_is_private(tmp_path: Path) -> None:
    """Nobody else may read what rollouts left."""
    Store.open(str(tmp_path / "store"))
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700
