"""Records as files of a directory, by the system's own calls.

Small ones are read and written on the event loop: the page cache answers sooner than a thread would
(docs/decisions/0010). The layout is obstore's, so that either can read what the other wrote: a name
is a path, and a file whose name ends in `#` and digits is one that is being written. Nothing is
synced; a machine that loses its power may lose its last records.
"""

import asyncio
import io
import itertools
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rolldock.store.backend import Backend, Entry

LARGE_BYTES: Final = 256 * 1024
"""From here on a record is read and written off the event loop."""

_SEGMENT: Final = r"(?!\.{0,2}(?:/|$))[^/\x00-\x1f\x7f]+"
_NAME: Final = re.compile(rf"(?!.*#\d+$){_SEGMENT}(?:/{_SEGMENT})*")
"""No empty, `.` or `..` segment, no control character, and nothing that looks half written."""
_STAGED: Final = re.compile(r".*#\d+")
_STAGED_BITS: Final = 40


class Directory(Backend):
    """One directory and what is below it."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._numbers = itertools.count(secrets.randbits(_STAGED_BITS))
        """For names of files that are being written: hardly one that another process uses."""

    async def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        if len(content) < LARGE_BYTES:
            return self._create(path, content)
        return await asyncio.to_thread(self._create, path, content)

    async def get(self, name: str) -> bytes | None:
        try:
            with io.FileIO(self._path(name)) as file:
                if os.fstat(file.fileno()).st_size < LARGE_BYTES:
                    return file.readall()
                return await asyncio.to_thread(file.readall)
        except (FileNotFoundError, IsADirectoryError):
            return None

    async def names(self, prefix: str, after: str | None) -> AsyncIterator[str]:
        for name, _ in await asyncio.to_thread(lambda: list(self._below(prefix))):
            if after is None or name > after:
                yield name

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        for entry in await asyncio.to_thread(lambda: list(self._entries(prefix))):
            yield entry

    async def half_written(self) -> AsyncIterator[Entry]:
        for entry in await asyncio.to_thread(lambda: list(self._staged())):
            yield entry

    async def delete_half_written(self, name: str) -> None:
        final, _, number = name.rpartition("#")
        if _NAME.fullmatch(name) is not None or not number.isdecimal():
            raise ValueError(f"{name!r} is not half written")
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(f"{self._path(final)}#{number}")

    async def entry(self, name: str) -> Entry | None:
        try:
            return _entry(name, os.stat(self._path(name)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def renew(self, name: str, content: bytes) -> None:
        path = self._path(name)
        while True:
            try:
                os.utime(path)
                return
            except FileNotFoundError:
                if await self.create(name, content):
                    return

    async def delete(self, name: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self._path(name))

    async def delete_unless_newer(self, name: str, than: datetime) -> bool:
        path = self._path(name)
        found = await self.entry(name)
        if found is None or found.written_at >= than:
            return False
        # Under another name it can be renewed no more: what its age is then, it remains.
        aside = f"{path}#{next(self._numbers)}"
        try:
            os.rename(path, aside)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            if _entry(name, os.stat(aside)).written_at < than:
                return True
            with suppress(FileExistsError):
                os.link(aside, path)
            return False
        finally:
            # It looks half written, so that whoever clears such files away may have been here.
            with suppress(FileNotFoundError):
                os.unlink(aside)

    def _path(self, name: str) -> str:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} can be no name in a store")
        return f"{self._root}/{name}"

    def _create(self, path: str, content: bytes) -> bool:
        """Write a file beside its place, then give it its name, which only one writer can.

        An empty one is whole as soon as it is there.
        """
        if not content:
            return _mark(path)
        staged, file = self._stage(path)
        try:
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(file, left) :]
            finally:
                os.close(file)
            os.link(staged, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(staged)
        return True

    def _stage(self, path: str) -> tuple[str, int]:
        """A new file beside a path, and its descriptor."""
        while True:
            staged = f"{path}#{next(self._numbers)}"
            with suppress(FileExistsError):
                # Else a process that was killed while it wrote has left it.
                return staged, _open_new(staged)

    def _staged(self) -> Iterator[Entry]:
        for place, _, files in os.walk(self._root):
            for file in files:
                if _STAGED.fullmatch(file) is not None:
                    path = f"{place}/{file}"
                    with suppress(FileNotFoundError):
                        yield _entry(os.path.relpath(path, self._root), os.stat(path))

    def _entries(self, prefix: str) -> Iterator[Entry]:
        for name, found in self._below(prefix):
            with suppress(FileNotFoundError):
                yield _entry(name, found.stat(follow_symlinks=False))

    def _below(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Files below a prefix by their names; what vanishes meanwhile is left out."""
        try:
            found = list(os.scandir(self._path(prefix)))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in found:
            name = f"{prefix}/{entry.name}"
            if entry.is_dir():
                yield from self._below(name)
            elif entry.is_file() and _STAGED.fullmatch(entry.name) is None:
                yield name, entry


def _mark(path: str) -> bool:
    """An empty file at its place. Returns whether this call made it."""
    try:
        os.close(_open_new(path))
    except FileExistsError:
        return False
    return True


def _open_new(path: str) -> int:
    """A new file's descriptor; its directory is made if there is none.

    Raises:
        FileExistsError: there is such a file.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def _entry(name: str, status: os.stat_result) -> Entry:
    return Entry(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
