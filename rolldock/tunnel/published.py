"""The published URL: written by the keeper as create-once versions, read by every worker."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

from rolldock.models.tunnel import PublishedTunnel
from rolldock.store import keys
from rolldock.store.store import Store

_FRESH_SECONDS: Final = 1.0
"""A look serves the whole worker for so long: thousands of agents may be watched at once."""


async def newest(store: Store, known: PublishedTunnel | None = None) -> PublishedTunnel | None:
    """The newest version, looked for upwards from a known one; None: nothing was ever published.

    Raises:
        UnavailableError: the store does not answer.
    """
    found = known or await _listed(store)
    while found is not None:
        later = await store.get(keys.tunnel(found.version + 1))
        if later is None:
            break
        found = PublishedTunnel.model_validate_json(later)
    return found


async def publish(
    store: Store,
    url: str | None,
    *,
    tunnel_id: str | None,
    keeper: str,
    check_seconds: float,
    connected: bool = True,
) -> PublishedTunnel:
    """Write a version after the newest, unless the newest says the same.

    Raises:
        UnavailableError: the store does not answer.
    """
    current: PublishedTunnel | None = None
    while True:
        current = await newest(store, current)
        record = PublishedTunnel(
            version=1 if current is None else current.version + 1,
            url=url,
            connected=connected,
            tunnel_id=tunnel_id,
            keeper=keeper,
            check_seconds=check_seconds,
            published_at=datetime.now(UTC),
        )
        if current is not None and _says_the_same(current, record):
            return current
        if await store.create(keys.tunnel(record.version), record.model_dump_json().encode()):
            return record


class PublishedTunnels:
    """The newest version as one worker knows it, at most a second old."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: PublishedTunnel | None = None
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def newest(self, *, fresh: bool = False) -> PublishedTunnel | None:
        """The newest version; None: nothing was ever published.

        Args:
            fresh: look now, for whoever binds itself to what it finds: another worker may know
                since less than a second that this URL is lost.

        Raises:
            UnavailableError: the store does not answer.
        """
        async with self._lock:
            if fresh or time.monotonic() - self._looked_at > _FRESH_SECONDS:
                self._known = await newest(self._store, self._known)
                self._looked_at = time.monotonic()
            return self._known


def _says_the_same(one: PublishedTunnel, other: PublishedTunnel) -> bool:
    # Who keeps it and how often it is checked matter only while there is one.
    more = () if other.url is None else ("connected", "tunnel_id", "keeper", "check_seconds")
    return all(getattr(one, name) == getattr(other, name) for name in ("url", *more))


async def _listed(store: Store) -> PublishedTunnel | None:
    """The newest version that a listing shows."""
    names = [name async for name in store.names(keys.TUNNELS)]
    found = await store.get(max(names)) if names else None
    return None if found is None else PublishedTunnel.model_validate_json(found)
