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
from pathlib import Path
from typing import Final

from rolldock.store.backend import Backend

LARGE_BYTES: Final = 256 * 1024
"""From here on a record is read and written off the event loop."""

_NAME: Final = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))(?!.*#\d+$)[^\x00-\x1f\x7f]+")
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
        for name in await asyncio.to_thread(lambda: list(self._below(prefix))):
            if after is None or name > after:
                yield name

    def _path(self, name: str) -> str:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} can be no name in a store")
        return f"{self._root}/{name}"

    def _create(self, path: str, content: bytes) -> bool:
        """Write a file beside its place, then give it its name, which only one writer can."""
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
            try:
                return staged, os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            except FileExistsError:
                # A process that was killed while it wrote has left it.
                continue

    def _below(self, prefix: str) -> Iterator[str]:
        """Names below a prefix; what vanishes meanwhile was never a record."""
        try:
            entries = list(os.scandir(self._path(prefix)))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            if entry.is_dir():
                yield from self._below(name)
            elif entry.is_file() and _STAGED.fullmatch(entry.name) is None:
                yield name
