"""The cache of a store's index: who ended when and how, in any order, without a network.

An entry never changes once it is written, so the cache only has to learn of new ones. It holds
nothing that the store has not, and can be removed at any time. It never loads a result or a trace.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from rolldock.errors import UnavailableError
from rolldock.index import schema
from rolldock.index.database import Database, is_damage
from rolldock.index.query import Query
from rolldock.models.result import IndexEntry
from rolldock.store.store import Store

_INDEX: Final = "index"
_NEAR_DAYS: Final = (-2, -1, 0, 1)
"""Listed at every refresh, from today in UTC: a result may be written half a day after the end that
it tells of (`cleanup_hours`), and clocks differ."""
_WHOLE_EVERY_SECONDS: Final = 3600.0
"""Older days are listed again so often: the reaper writes for runs that were over long before."""
_READ_AT_ONCE: Final = 128
_SLACK_SECONDS: Final = 60.0
"""An entry that was taken up so shortly before a listing may be missing there."""


class IndexCache:
    """The entries of one store's index; several processes may have the same file open.

    Raises:
        UnavailableError: from every method, when another process keeps the file busy, or it was
            found damaged and is empty now; the next refresh fills it.
    """

    def __init__(self, store: Store, database: Database) -> None:
        self._store = store
        self._database = database

    @classmethod
    def open(cls, store: Store, path: Path) -> Self:
        """Open the file, made if it is not there, emptied if it is damaged or another store's.

        Where it cannot be written the cache is kept in memory.
        """
        with _named(path):
            return cls(store, Database.open(path, store.where))

    async def refresh(self) -> int:
        """Take up what the store's index has and the cache has not.

        Returns:
            How many entries are new here.

        Raises:
            UnavailableError: also when the store does not answer.
        """
        with _named(self._store.where):
            try:
                return await self._refresh()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._database.mend()
                return await self._refresh()

    def find(self, query: Query) -> list[IndexEntry]:
        """The entries that a query wants, in its order."""
        condition, values = schema.where(query)
        rows = self._select(
            f"SELECT entry FROM entries WHERE {condition} ORDER BY {schema.order(query)} "
            "LIMIT ? OFFSET ?",
            [*values, -1 if query.limit is None else query.limit, query.offset],
        )
        return [IndexEntry.model_validate_json(content) for (content,) in rows]

    def count(self, query: Query) -> int:
        """How many entries a query wants, whatever its limit and offset."""
        condition, values = schema.where(query)
        [(n_entries,)] = self._select(f"SELECT count(*) FROM entries WHERE {condition}", values)
        return n_entries

    def known(self, rollouts: Iterable[str]) -> set[str]:
        """Those of some rollouts that have ended."""
        wanted = json.dumps(list(rollouts))
        rows = self._select(
            "SELECT rollout FROM entries WHERE rollout IN (SELECT value FROM json_each(?))",
            [wanted],
        )
        return {rollout for (rollout,) in rows}

    def values(self, field: str) -> list[str]:
        """The distinct values of a field of `IndexEntry`, such as `experiment`, sorted.

        Raises:
            ValueError: there is no such field.
        """
        column = schema.column(field)
        rows = self._select(
            f"SELECT DISTINCT {column} FROM entries WHERE {column} IS NOT NULL ORDER BY 1", []
        )
        return [str(value) for (value,) in rows]

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._database.connection

    def _select(self, statement: str, values: Iterable[schema.Value]) -> list[tuple[Any, ...]]:
        with _named(self._store.where):
            try:
                return self._connection.execute(statement, list(values)).fetchall()
            except sqlite3.DatabaseError as error:
                if is_damage(error):
                    self._database.mend()
                raise

    async def _refresh(self) -> int:
        now = time.time()
        [(listed_at,)] = self._connection.execute("SELECT listed_at FROM about").fetchall()
        if listed_at is None or not 0 <= now - listed_at < _WHOLE_EVERY_SECONDS:
            n_new = await self._take_up(now, None, await self._listed(None))
            self._connection.execute("UPDATE about SET listed_at = ?", (now,))
            return n_new
        today = datetime.now(UTC).date()
        days = [f"{today + timedelta(days=days)}" for days in _NEAR_DAYS]
        listings = await asyncio.gather(*(self._listed(day) for day in days))
        return sum(
            [
                await self._take_up(now, day, listed)
                for day, listed in zip(days, listings, strict=True)
            ]
        )

    async def _take_up(self, now: float, day: str | None, listed: set[str]) -> int:
        """Make the cache hold what was listed of a day, or of all; how many entries are new."""
        held = {
            name: taken_at
            for name, taken_at in self._connection.execute(
                "SELECT name, taken_at FROM entries WHERE ?1 IS NULL OR day = ?1", (day,)
            )
        }
        gone = [
            (name,)
            for name, taken_at in held.items()
            if name not in listed and taken_at < now - _SLACK_SECONDS
        ]
        if gone:
            self._write("DELETE FROM entries WHERE name = ?", gone)
        return await self._add(now, sorted(listed - held.keys()))

    async def _listed(self, day: str | None) -> set[str]:
        place = _INDEX if day is None else f"{_INDEX}/{day}"
        # index/{date}/{experiment}/{rollout}; anything else is no entry.
        return {name async for name in self._store.names(place) if name.count("/") == 3}

    async def _add(self, now: float, names: list[str]) -> int:
        """Read entries side by side; each lot is kept, so that an interrupt loses little."""
        n_added = 0
        for start in range(0, len(names), _READ_AT_ONCE):
            lot = names[start : start + _READ_AT_ONCE]
            contents = await asyncio.gather(*(self._store.get(name) for name in lot))
            rows: list[tuple[schema.Value, ...]] = []
            for name, content in zip(lot, contents, strict=True):
                if content is None:
                    continue
                try:
                    rows.append(schema.row(name, now, content))
                except ValueError:
                    # Of a later version, which lists it: one entry must not hide all others.
                    continue
            n_added += self._write(schema.INSERT, rows)
        return n_added

    def _write(self, statement: str, rows: Sequence[tuple[schema.Value, ...]]) -> int:
        """How many rows it has changed."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            return self._connection.executemany(statement, rows).rowcount


@contextmanager
def _named(what: object) -> Generator[None, None, None]:
    """SQLite's errors as one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise UnavailableError(
            f"the cache of the index of {what} cannot be used just now ({error}): give the same "
            "command again; the cache may be removed at any time"
        ) from error
