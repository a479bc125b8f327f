"""Records in an object store, or in whatever else obstore opens by a URL."""

from collections.abc import AsyncIterator

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from rolldock.store.backend import Backend


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
        # obstore's overload for Arrow batches is untyped without that package.
        listing = obstore.list(self._objects, prefix, offset=after)  # pyright: ignore[reportUnknownMemberType]
        async for batch in listing:
            for entry in batch:
                yield entry["path"]
