"""The cache of the index: what it takes up, what it finds, and what harm it outlives."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from rolldock.errors import UnavailableError
from rolldock.index.cache import IndexCache
from rolldock.index.query import Query
from rolldock.models.result import IndexEntry
from rolldock.store import keys
from rolldock.store.store import Store
from tests.index.entries import NOW, entry, failed, write

if TYPE_CHECKING:
    from tests.index.conftest import OpenCache

LONG_AGO = NOW - timedelta(days=30)
REFRESH = """
import asyncio, sys
from pathlib import Path
from rolldock.index.cache import IndexCache
from rolldock.store.store import Store
cache = IndexCache.open(Store.open(sys.argv[1]), Path(sys.argv[2]))
asyncio.run(cache.refresh())
cache.close()
"""


def ids(found: Iterable[IndexEntry]) -> list[str]:
    return [one.rollout for one in found]


def change(path: Path, statement: str) -> None:
    """Do something to the file behind the cache's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def put(path: Path, content: bytes) -> None:
    """Put something where a cache is looked for."""
    path.parent.mkdir()
    path.write_bytes(content)


def ruin(path: Path) -> None:
    """Write noise over all pages of a file but the first."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


async def test_a_refresh_takes_up_what_is_new(store: Store, open_cache: "OpenCache") -> None:
    """The first refresh takes all entries, the next only those that came since, as written."""
    old, new = entry("old", ended_at=LONG_AGO), entry("new", group="g", n_turns=3, seconds=1.5)
    await write(store, old, entry("a/b@c"))
    cache = open_cache()
    assert await cache.refresh() == 2
    await write(store, new)
    assert await cache.refresh() == 1
    assert await cache.refresh() == 0
    assert cache.find(Query(text="new")) == [new]
    assert ids(cache.find(Query(sort="rollout"))) == ["a/b@c", "new", "old"]


async def test_a_late_entry_of_an_old_day_is_found_in_time(
    store: Store, path: Path, open_cache: "OpenCache"
) -> None:
    """An entry under a day long past comes with the next listing of everything."""
    cache = open_cache()
    await cache.refresh()
    await write(store, entry("late", ended_at=LONG_AGO))
    assert await cache.refresh() == 0
    change(path, "UPDATE about SET listed_at = listed_at - 4000")
    assert await cache.refresh() == 1


async def test_what_the_store_has_no_more_goes(
    store: Store, path: Path, open_cache: "OpenCache", tmp_path: Path
) -> None:
    """An entry that was removed from the store is forgotten; one taken up just now is spared."""
    await write(store, entry("gone"), entry("kept"))
    cache = open_cache()
    await cache.refresh()
    (tmp_path / "store" / keys.index(NOW, "exp", "gone")).unlink()
    await cache.refresh()
    assert cache.count(Query()) == 2
    change(path, "UPDATE entries SET taken_at = 0")
    await cache.refresh()
    assert ids(cache.find(Query())) == ["kept"]


QUERIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"experiment": "other"}, ["d"]),
    ({"group": "g"}, ["b"]),
    ({"task": "it's; --"}, ["b"]),
    ({"agent": "opencode"}, ["d"]),
    ({"endpoint": "m"}, ["c"]),
    ({"status": "failed"}, ["c"]),
    ({"stop_reason": "max_turns"}, ["b"]),
    ({"cause": "sandbox_lost"}, ["c"]),
    ({"failed_in": "await_agent"}, ["c"]),
    ({"replay_of": "a"}, ["d"]),
    ({"reward_below": 0.5}, ["b"]),
    ({"reward_above": 0.25}, ["a", "d"]),
    ({"since": NOW - timedelta(hours=2)}, ["a", "b"]),
    ({"until": NOW - timedelta(hours=2)}, ["c", "d"]),
    ({"text": "D"}, ["d"]),
    ({"text": "%"}, []),
    ({"experiment": "exp", "status": "completed"}, ["a", "b"]),
    ({}, ["a", "b", "c", "d"]),
    ({"sort": "reward"}, ["b", "d", "a", "c"]),
    ({"sort": "-reward"}, ["a", "d", "b", "c"]),
    ({"sort": "-rollout", "limit": 2, "offset": 1}, ["c", "b"]),
    ({"limit": 0}, []),
]


async def test_every_filter_and_order(store: Store, open_cache: "OpenCache") -> None:
    """Filters are exact and meet together, the newest come first, no value comes last."""
    ago = [NOW - timedelta(hours=hours) for hours in (0, 1, 3, 4)]
    await write(
        store,
        entry("a", ended_at=ago[0]),
        entry(
            "b", ended_at=ago[1], group="g", task="it's; --", stop_reason="max_turns", reward=0.25
        ),
        failed("c", "sandbox_lost", ended_at=ago[2], endpoint="m"),
        entry(
            "d", ended_at=ago[3], experiment="other", agent="opencode", replay_of="a", reward=0.5
        ),
    )
    cache = open_cache()
    await cache.refresh()
    for given, wanted in QUERIES:
        query = Query.model_validate(given)
        assert ids(cache.find(query)) == wanted, given
        if query.limit is None:
            assert cache.count(query) == len(wanted), given
    assert cache.values("experiment") == ["exp", "other"]
    assert cache.known(["a", "x"]) == {"a"}


def test_an_order_by_nothing_is_refused() -> None:
    """`sort` takes the fields of an entry and nothing else."""
    with pytest.raises(ValidationError, match="no field to sort by"):
        Query(sort="rowid; DROP TABLE entries")


HARMS = {
    "no database": b"no database at all" * 100,
    "empty": b"",
    "half a header": b"SQLite format 3\x00" + b"\x00" * 50,
}


@pytest.mark.parametrize("harm", HARMS)
async def test_a_file_that_is_no_cache_is_replaced(
    harm: str, store: Store, path: Path, open_cache: "OpenCache"
) -> None:
    """Whatever stands at its place is made anew."""
    put(path, HARMS[harm])
    await write(store, entry("a"))
    cache = open_cache()
    assert await cache.refresh() == 1
    assert ids(cache.find(Query())) == ["a"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE about SET store = 'elsewhere'",
        "UPDATE about SET layout = 'of another version'",
        "DROP TABLE about",
        "ALTER TABLE entries RENAME TO others",
    ],
)
async def test_a_cache_of_another_kind_is_replaced(
    statement: str, store: Store, path: Path, open_cache: "OpenCache"
) -> None:
    """A cache of another store or version, or one that lacks a table, is filled again."""
    await write(store, entry("a"))
    with closing(IndexCache.open(store, path)) as cache:
        await cache.refresh()
    change(path, statement)
    again = open_cache()
    assert await again.refresh() == 1


async def test_damage_under_an_open_cache_is_mended(
    store: Store, path: Path, open_cache: "OpenCache"
) -> None:
    """Pages that are destroyed while the file is open: one error that says so, then all is well."""
    await write(store, *(entry(f"r{number}") for number in range(200)))
    with closing(IndexCache.open(store, path)) as cache:
        await cache.refresh()
    cache = open_cache()
    ruin(path)
    with pytest.raises(UnavailableError, match="give the same command again"):
        cache.find(Query())
    assert await cache.refresh() == 200
    assert cache.count(Query()) == 200


async def test_without_a_place_to_write_it_is_in_memory(store: Store, tmp_path: Path) -> None:
    """A cache directory that cannot be made costs time and nothing else."""
    await write(store, entry("a"))
    (tmp_path / "file").touch()
    with closing(IndexCache.open(store, tmp_path / "file" / "index.sqlite")) as cache:
        assert await cache.refresh() == 1
        assert ids(cache.find(Query())) == ["a"]


async def test_an_entry_that_nobody_can_read_hides_no_other(
    store: Store, open_cache: "OpenCache"
) -> None:
    """One of a later version, or garbage, is passed over; unknown fields and causes are kept."""
    await store.create("index/2026-01-01/exp/garbage", b"\xff{")
    await store.create("index/stray", b"{}")
    odd = entry("odd").model_copy(update={"cause": "of_a_later_version", "colour": "red"})
    await write(store, odd)
    cache = open_cache()
    assert await cache.refresh() == 1
    [found] = cache.find(Query(cause="of_a_later_version"))
    assert found.model_extra == {"colour": "red"}


async def test_several_processes_at_once(store: Store, path: Path, open_cache: "OpenCache") -> None:
    """Processes that make and fill the same cache at once all succeed, and nothing is there twice.

    What stands at its place before is no database, so that each of them finds it to be replaced.
    """
    await write(store, *(entry(f"r{number}") for number in range(300)))
    put(path, HARMS["no database"])
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", REFRESH, store.where, str(path), cwd=Path(__file__).parents[2]
        )
        for _ in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    cache = open_cache()
    assert cache.count(Query()) == 300
    assert await cache.refresh() == 0
