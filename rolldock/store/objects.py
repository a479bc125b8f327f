"""Records in an object store, or in whatever else obstore opens by a URL."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from rolldock.store.backend import Backend, Entry


class Objects(Backend):
    """One bucket, or a prefix of it."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def create(self, name: str, content: bytes) -> bool:
        try:
            await obstore.put_async(self._objects, name, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    async def get(self, name: str) -> bytes | None:
        try:
            found = await obstore.get_async(self._objects, name)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None

    async def names(self, prefix: str, after: str | None) -> AsyncIterator[str]:
        async for entry in self._list(prefix, after):
            yield entry.name

    def entries(self, prefix: str) -> AsyncIterator[Entry]:
        return self._list(prefix, None)

    async def half_written(self) -> AsyncIterator[Entry]:
        # A put is one request: it is there as a whole or not at all.
        for nothing in ():
            yield nothing

    async def delete_half_written(self, name: str) -> None:
        raise ValueError(f"{name!r}: nothing is half written in an object store")

    async def entry(self, name: str) -> Entry | None:
        try:
            found = await obstore.head_async(self._objects, name)
        except FileNotFoundError:
            return None
        return Entry(name, found["size"], found["last_modified"])

    async def renew(self, name: str, content: bytes) -> None:
        await obstore.put_async(self._objects, name, content, mode="overwrite")

    async def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._objects, name)

    async def delete_unless_newer(self, name: str, than: datetime) -> bool:
        # No conditional delete everywhere: what is renewed within this one request is lost.
        found = await self.entry(name)
        if found is None or found.written_at >= than:
            return False
        await self.delete(name)
        return True

    async def _list(self, prefix: str, after: str | None) -> AsyncIterator[Entry]:
        # obstore's overload for Arrow batches is untyped without that package.
        listing = obstore.list(self._objects, prefix, offset=after)  # pyright: ignore[reportUnknownMemberType]
        async for batch in listing:
            for entry in batch:
                yield Entry(entry["path"], entry["size"], entry["last_modified"])
