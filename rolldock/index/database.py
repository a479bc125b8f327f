"""The SQLite file of the cache: made where it is not there, made anew where it cannot be used.

Who has it open holds a shared lock on a file beside it, and only an exclusive one allows to replace
it: SQLite must never find another database under the names that it has open. Where no file can be
kept the cache is in memory, for as long as the process lives. Knows nothing of entries.
"""

import fcntl
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, Self

from rolldock.errors import UnavailableError
from rolldock.index.schema import CREATE, LAYOUT

_BUSY_SECONDS: Final = 10.0
"""How long one waits for another process that writes, or replaces the file."""
_LOOK_SECONDS: Final = 0.02
_IN_MEMORY: Final = ":memory:"
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is no sound database."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


class Database:
    """The connection to one store's cache."""

    def __init__(self, path: Path, store: str) -> None:
        self._path = path
        self._store = store
        self._lock: int | None = None
        self.connection: sqlite3.Connection

    @classmethod
    def open(cls, path: Path, store: str) -> Self:
        """Open the file, of which nothing is asked but that it can be made again.

        Raises:
            UnavailableError: another process holds it and does not let go.
        """
        opened = cls(path, store)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            opened._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            opened._open()
        except (OSError, sqlite3.OperationalError):
            # A home that cannot be written, or a full disk: it takes longer, that is all.
            opened._release()
            opened.connection = _made(_IN_MEMORY, store)
        except BaseException:
            opened._release()
            raise
        return opened

    def mend(self) -> None:
        """Make the file anew where it is damaged, as a query has just said.

        Raises:
            UnavailableError: another process holds it and does not let go.
        """
        self.connection.close()
        self._replace()

    def close(self) -> None:
        """Close the file; the cache in memory is gone."""
        self.connection.close()
        self._release()

    def _open(self) -> None:
        self._take(fcntl.LOCK_SH)
        found = _sound(str(self._path), self._store, thoroughly=False)
        if found is None:
            self._replace()
        else:
            self.connection = found

    def _replace(self) -> None:
        if self._lock is None:
            self.connection = _made(_IN_MEMORY, self._store)
            return
        # Let go first: two that hold it shared would wait for each other.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._take(fcntl.LOCK_EX)
        found = _sound(str(self._path), self._store, thoroughly=True)
        if found is None:
            for end in ("", "-wal", "-shm"):
                Path(f"{self._path}{end}").unlink(missing_ok=True)
            found = _made(str(self._path), self._store)
        self.connection = found
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _take(self, kind: int) -> None:
        deadline = time.monotonic() + _BUSY_SECONDS
        while self._lock is not None:
            try:
                fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"the cache {self._path} has to be made anew, but another process uses it: "
                        "end the other `rolldock` commands, or remove the file"
                    ) from None
                time.sleep(_LOOK_SECONDS)
            else:
                return

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _sound(path: str, store: str, *, thoroughly: bool) -> sqlite3.Connection | None:
    """A connection to a cache of this store; None: the file is something else, or nothing yet."""
    connection = _connect(path)
    try:
        about = connection.execute("SELECT store, layout FROM about").fetchall()
        connection.execute("SELECT name FROM entries LIMIT 1")
        if about == [(store, LAYOUT)] and not (thoroughly and _is_broken(connection)):
            return connection
    except sqlite3.DatabaseError as error:
        if not is_damage(error) and "no such" not in str(error):
            connection.close()
            raise
    connection.close()
    return None


def _is_broken(connection: sqlite3.Connection) -> bool:
    return connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    with suppress(sqlite3.DatabaseError):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _made(path: str, store: str) -> sqlite3.Connection:
    connection = _connect(path)
    with closing(connection.cursor()) as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        for statement in CREATE:
            cursor.execute(statement)
        cursor.execute("INSERT INTO about VALUES (?, ?, NULL)", (store, LAYOUT))
        cursor.execute("COMMIT")
    return connection
