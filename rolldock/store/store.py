"""The store: one primitive, create-if-absent, over a directory or whatever obstore can open.

A directory cannot compare and swap, so nothing here updates: a record is written once, the first
writer wins, and what it says never changes. Only what is over is ever deleted, such as recordings
past their lifetime and blobs that nothing names (docs/decisions/0013). Which those are is decided
elsewhere; a blob that somebody stores or holds is made young here, since only old ones are deleted.
"""

import hashlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from obstore.exceptions import BaseError
from obstore.store import from_url

from rolldock.errors import UnavailableError, UsageError
from rolldock.store.backend import Backend, Entry
from rolldock.store.directory import Directory
from rolldock.store.objects import Objects

_KNOWN_BLOBS: Final = 4096
_KNOWN_SECONDS: Final = 3600.0
"""So long a process takes for granted that a blob is there, and young."""
_RENEW_AFTER: Final = timedelta(hours=12)
"""An older blob is renewed when it is stored again."""
BLOB_GRACE: Final = timedelta(days=1)
"""A younger blob is never deleted. Whoever has stored it just now finds it there, and at most
`_RENEW_AFTER` and `_KNOWN_SECONDS` old: so at least eleven hours are left to write the record that
names it."""


class Store:
    """Blobs by digest and named records.

    Raises:
        UnavailableError: from every method, when the store itself cannot be reached.
    """

    def __init__(self, backend: Backend, where: str) -> None:
        self._backend = backend
        self.where = where
        """The directory or URL, for messages."""
        self._blobs: dict[str, float] = {}
        """Digests that are there, since this process has stored them; the newest ones, in order,
        with the second until which that is known."""

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

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        """Records below a prefix (whole path segments), in no particular order."""
        try:
            async for entry in self._backend.entries(prefix):
                yield entry
        except (BaseError, OSError) as error:
            raise self._unavailable(prefix, error) from error

    async def delete(self, name: str) -> None:
        """Remove a record for good; one that does not exist is no error."""
        try:
            await self._backend.delete(name)
        except (BaseError, OSError) as error:
            raise self._unavailable(name, error) from error

    async def half_written(self) -> AsyncIterator[Entry]:
        """Files that writers have begun, or have left when they were killed."""
        try:
            async for entry in self._backend.half_written():
                yield entry
        except (BaseError, OSError) as error:
            raise self._unavailable("half-written files", error) from error

    async def delete_half_written(self, name: str) -> None:
        """Remove what a killed writer has left; one that does not exist is no error."""
        try:
            await self._backend.delete_half_written(name)
        except (BaseError, OSError) as error:
            raise self._unavailable(name, error) from error

    async def put_blob(self, content: bytes) -> str:
        """Store content under its SHA-256 and return that.

        It stays for hours at least, so that there is time to write the record that names it.
        """
        digest = hashlib.sha256(content).hexdigest()
        if not self._is_known(digest):
            if not await self.create(f"blobs/{digest}", content):
                await self._renew(digest, content)
            self._know(digest)
        return digest

    async def hold_blob(self, digest: str) -> bool:
        """Keep a blob that a record is about to name, as if it were stored now.

        Returns:
            Whether it is there.
        """
        if not self._is_known(digest):
            found = await self._entry(f"blobs/{digest}")
            content = await self.get(f"blobs/{digest}") if _is_old(found) else None
            if content is not None:
                await self._renew(digest, content)
            elif found is None or _is_old(found):
                return False
            self._know(digest)
        return True

    async def delete_blob(self, digest: str, unless_newer: datetime) -> bool:
        """Delete a blob that nothing names, unless it was stored or held at that time or later.

        Returns:
            Whether this call deleted it.
        """
        name = f"blobs/{digest}"
        try:
            return await self._backend.delete_unless_newer(name, unless_newer)
        except (BaseError, OSError) as error:
            raise self._unavailable(name, error) from error

    async def get_blob(self, digest: str) -> bytes:
        """A blob that a record names.

        Raises:
            KeyError: it is not there.
        """
        content = await self.get(f"blobs/{digest}")
        if content is None:
            raise KeyError(f"blob {digest} is not in the store {self.where}")
        return content

    def _is_known(self, digest: str) -> bool:
        return self._blobs.get(digest, 0) > time.monotonic()

    def _know(self, digest: str) -> None:
        self._blobs.pop(digest, None)
        if len(self._blobs) >= _KNOWN_BLOBS:
            del self._blobs[next(iter(self._blobs))]
        self._blobs[digest] = time.monotonic() + _KNOWN_SECONDS

    async def _entry(self, name: str) -> Entry | None:
        try:
            return await self._backend.entry(name)
        except (BaseError, OSError) as error:
            raise self._unavailable(name, error) from error

    async def _renew(self, digest: str, content: bytes) -> None:
        name = f"blobs/{digest}"
        if not _is_old(await self._entry(name)):
            return
        try:
            await self._backend.renew(name, content)
        except (BaseError, OSError) as error:
            raise self._unavailable(name, error) from error

    def _unavailable(self, name: str, error: Exception) -> UnavailableError:
        return UnavailableError(f"store {self.where}: {name}: {_first_line(error)}")


def _is_old(blob: Entry | None) -> bool:
    """Whether it has to be renewed; one that has just vanished has to be written again."""
    return blob is None or datetime.now(UTC) - blob.written_at > _RENEW_AFTER


def _first_line(error: Exception) -> str:
    """What obstore says, without its dump of internals."""
    return str(error).partition("\n")[0]
