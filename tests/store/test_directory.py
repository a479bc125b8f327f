"""A directory as a store: whole records, obstore's layout, names that stay inside."""

import asyncio
from pathlib import Path

import pytest
from obstore.store import LocalStore

from rolldock.store.backend import Backend
from rolldock.store.directory import LARGE_BYTES, Directory
from rolldock.store.objects import Objects
from rolldock.store.store import Store

LARGE = b"x" * (LARGE_BYTES * 4)


async def listed(directory: Backend, prefix: str) -> list[str]:
    """All names below a prefix, sorted."""
    return sorted([name async for name in directory.names(prefix, None)])


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
async def test_obstore_reads_what_we_write(tmp_path: Path, content: bytes) -> None:
    """The same name, the same bytes, the same listing."""
    assert await Directory(tmp_path).create("results/a%2Fb", content)
    theirs = Objects(LocalStore(tmp_path))
    assert await theirs.get("results/a%2Fb") == content
    assert not await theirs.create("results/a%2Fb", b"another")
    assert await listed(theirs, "results") == ["results/a%2Fb"]


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
async def test_we_read_what_obstore_wrote(tmp_path: Path, content: bytes) -> None:
    """A store of an earlier version goes on as it is: what is there is never written again."""
    assert await Objects(LocalStore(tmp_path)).create("results/a%2Fb", content)
    directory = Directory(tmp_path)
    assert await directory.get("results/a%2Fb") == content
    assert not await directory.create("results/a%2Fb", b"another")
    assert await listed(directory, "results") == ["results/a%2Fb"]


async def test_a_reader_never_sees_half_a_record(tmp_path: Path) -> None:
    """While large records are written, a reader finds each of them absent or whole."""
    directory = Directory(tmp_path)
    names = [f"blobs/{number}" for number in range(20)]
    writing = asyncio.gather(*(directory.create(name, LARGE) for name in names))
    while not writing.done():
        for name in names:
            assert await directory.get(name) in (None, LARGE)
        await asyncio.sleep(0)
    assert all(await writing)


@pytest.mark.parametrize("content", [b"small", LARGE])
async def test_nothing_is_left_beside_a_record(tmp_path: Path, content: bytes) -> None:
    """Neither the winner nor a loser leaves the file that it wrote first."""
    directory = Directory(tmp_path)
    won = await asyncio.gather(*(directory.create("a/b", content) for _ in range(8)))
    assert won.count(True) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


async def test_what_a_killed_writer_left_is_no_record(tmp_path: Path) -> None:
    """A half-written file is not listed, and does not keep its record from being written."""
    directory = Directory(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b#1").write_bytes(b"half")
    assert await listed(directory, "a") == []
    assert await directory.create("a/b", b"whole")
    assert await listed(directory, "a") == ["a/b"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/../b", "a/./b", "a//b", "/a", "a/", "a\0b", "a\nb", "a#1"]
)
async def test_a_name_stays_inside(tmp_path: Path, name: str) -> None:
    """What obstore takes for no path is none here, be it read, written or listed."""
    directory = Directory(tmp_path)
    with pytest.raises(ValueError, match="can be no name"):
        await directory.create(name, b"")
    with pytest.raises(ValueError, match="can be no name"):
        await directory.get(name)
    with pytest.raises(ValueError, match="can be no name"):
        await listed(directory, name)


async def test_a_directory_is_no_record(tmp_path: Path) -> None:
    """A name that others are below is absent as a record, and cannot become one."""
    directory = Directory(tmp_path)
    await directory.create("a/b", b"")
    assert await directory.get("a") is None
    assert not await directory.create("a", b"")


async def test_a_blob_is_written_once_by_a_process(tmp_path: Path) -> None:
    """Stored again, it is not even looked for; another process looks."""
    store = Store.open(str(tmp_path))
    digest = await store.put_blob(b"tools")
    (tmp_path / "blobs" / digest).unlink()
    assert await store.put_blob(b"tools") == digest
    assert not (tmp_path / "blobs" / digest).exists()
    assert await Store.open(str(tmp_path)).put_blob(b"tools") == digest
    assert await store.get_blob(digest) == b"tools"
