"""The store: one primitive, create-if-absent, over a directory or whatever obstore can open.

A directory cannot compare and swap, so nothing here updates or deletes: a record is written once,
the first writer wins, and what it says never changes.
"""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Self

from obstore.exceptions import BaseError
from obstore.store import from_url

from rolldock.errors import UnavailableError, UsageError
from rolldock.store.backend import Backend
from rolldock.store.directory import Directory
from rolldock.store.objects import Objects

_KNOWN_BLOBS: Final = 4096


class Store:
    """Blobs by digest and named records.

    Raises:
        UnavailableError: from every method, when the store itself cannot be reached.
    """

    def __init__(self, backend: Backend, where: str) -> None:
        self._backend = backend
        self.where = where
        """The directory or URL, for messages."""
        self._blobs: dict[str, None] = {}
        """Digests that are there, since this process has stored them; the newest ones, in order."""

    @classmethod
    def open(cls, where: str) -> Self:
        """Open a directory (made if absent) or a URL such as s3://bucket/prefix.

        Raises:
            UsageError: it can be neither.
        """
        try:
            if "://" in where:
                return cls(Objects(from_url(where)), where)
            root = Path(where).absolute()
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            return cls(Directory(root), str(root))
        except (BaseError, OSError, ValueError) as error:
            raise UsageError(
                f"store {where!r} cannot be opened: {_first_line(error)}: set ROLLDOCK_STORE to a "
                "directory that you can write, or to a URL such as s3://bucket/prefix"
            ) from error

    async def create(self, name: str, content: bytes) -> bool:
        """Write a record unless it exists. Returns whether this call wrote it."""
        try:
            return await self._backend.create(name, content)
        except (BaseError, OSError) as error:
            raise self._unavailable(name, error) from error

    async def get(self, name: str) -> bytes | None:
        """A record's content; None where it does not exist."""
        try:
            return await self._backend.get(name)
        except (BaseError, OSError) as error:
            raise self._unavailable(name, error) from error

    async def names(self, prefix: str, after: str | None = None) -> AsyncIterator[str]:
        """Names below a prefix (whole path segments), in no particular order."""
        try:
            async for name in self._backend.names(prefix, after):
                yield name
        except (BaseError, OSError) as error:
            raise self._unavailable(prefix, error) from error

    async def put_blob(self, content: bytes) -> str:
        """Store content under its SHA-256 and return that."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._blobs:
            await self.create(f"blobs/{digest}", content)
            if len(self._blobs) >= _KNOWN_BLOBS:
                del self._blobs[next(iter(self._blobs))]
            self._blobs[digest] = None
        return digest

    async def get_blob(self, digest: str) -> bytes:
        """A blob that a record names.

        Raises:
            KeyError: it is not there.
        """
        content = await self.get(f"blobs/{digest}")
        if content is None:
            raise KeyError(f"blob {digest} is not in the store {self.where}")
        return content

    def _unavailable(self, name: str, error: Exception) -> UnavailableError:
        return UnavailableError(f"store {self.where}: {name}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """What obstore says, without its dump of internals."""
    return str(error).partition("\n")[0]
