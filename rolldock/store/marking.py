"""Which blobs the records of a store name: the mark of mark and sweep.

A digest that stands anywhere in a record marks its blob, whatever the record means by it, so that
a field that is not known here loses nothing. No blob names another.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from rolldock.models.result import RolloutResult
from rolldock.store import keys
from rolldock.store.recordings import AT_ONCE
from rolldock.store.store import Store

TASKS: Final = "blobs: task bundles"
LOGS: Final = "blobs: logs"
BODIES: Final = "blobs: of recordings"
ENDPOINTS: Final = "endpoints"
_NAMING: Final = {ENDPOINTS: "blobs: tokenizers", keys.AGENTS: "blobs: agents"}
"""Kinds of small records that name blobs, and what those are."""
_DIGEST: Final = re.compile(rb'"([0-9a-f]{64})"')
_NAMES_NONE: Final = ("claim", "delivered", "deleted")
"""Records of a session in which no blob is named; the digest in a claim is of a request."""


class Marks:
    """Digests of blobs that are named, each with what the first record makes of its blob."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def __contains__(self, digest: str) -> bool:
        return digest in self._kinds

    def kind(self, digest: str) -> str | None:
        """What a blob is; None: nothing names it."""
        return self._kinds.get(digest)

    def add(self, digests: Iterable[str], kind: str) -> None:
        """Mark blobs."""
        for digest in digests:
            self._kinds.setdefault(digest, kind)

    def add_result(self, content: bytes, result: RolloutResult | None) -> None:
        """Mark what a result names; `result`: what it says, where it can be read."""
        if result is not None:
            self.add((result.task_digest, result.spec.task.digest), TASKS)
        self.add(digests(content), LOGS)

    async def add_kinds(self, store: Store) -> None:
        """Mark what endpoints and pushed agents name."""
        for kind, of_blobs in _NAMING.items():
            async for content in contents(store, [name async for name in store.names(kind)]):
                self.add(digests(content), of_blobs)

    async def add_recordings(self, store: Store, names: Sequence[str]) -> None:
        """Mark what records of sessions name."""
        telling = [name for name in names if _names_blobs(name)]
        async for content in contents(store, telling):
            self.add(digests(content), BODIES)

    async def add_recording(self, store: Store, attempt: str) -> None:
        """Mark what the records of one attempt name."""
        names = [name async for name in store.names(keys.recording(attempt))]
        await self.add_recordings(store, names)


def digests(content: bytes) -> set[str]:
    """Every SHA-256 that stands in a JSON record as a string of its own."""
    return {found.decode() for found in _DIGEST.findall(content)}


async def contents(store: Store, names: Sequence[str]) -> AsyncIterator[bytes]:
    """Records by their names, read side by side; those that have vanished are left out."""
    for start in range(0, len(names), AT_ONCE):
        window = names[start : start + AT_ONCE]
        for content in await asyncio.gather(*(store.get(name) for name in window)):
            if content is not None:
                yield content


def _names_blobs(name: str) -> bool:
    kind = name.rsplit("/", 1)[1].partition(".")
    return not (kind[2] or kind[0]).startswith(_NAMES_NONE)
