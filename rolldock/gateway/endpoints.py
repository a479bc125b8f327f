"""The model servers behind endpoint names, each looked at anew before and after every call.

One get of the next version, normally absent, tells whether a record has changed.
"""

import asyncio
import hashlib
from dataclasses import dataclass

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint
from rolldock.store import endpoints, keys
from rolldock.store.store import Store


@dataclass(frozen=True, slots=True)
class Target:
    """One version of an endpoint, ready to be called for one session."""

    endpoint: Endpoint
    url: str
    api_key: str | None


class Endpoints:
    """The endpoints that this process has met, each at the newest version seen."""

    def __init__(self, store: Store, secret: bytes, resume_poll_seconds: float) -> None:
        self._store = store
        self._secret = secret
        self._resume_poll_seconds = resume_poll_seconds
        self._known: dict[str, Endpoint] = {}

    async def newest(self, name: str) -> Endpoint:
        """The newest version of an endpoint.

        Raises:
            UsageError: there is no such endpoint.
            UnavailableError: the store does not answer.
        """
        current = self._known.get(name) or await endpoints.newest(self._store, name)
        if current is None:
            raise UsageError(f"endpoint {name} does not exist: add it with `rolldock endpoint add`")
        while later := await self._store.get(keys.endpoint(name, current.version + 1)):
            current = Endpoint.model_validate_json(later)
        known = self._known.get(name)
        if known is None or known.version < current.version:
            self._known[name] = current
        return current

    async def ready(self, name: str, attempt: str) -> Target:
        """Wait while an endpoint is paused, then say where an attempt's calls go.

        Raises:
            UsageError: no such endpoint, or its key cannot be decrypted.
            UnavailableError: the store does not answer.
        """
        while (endpoint := await self.newest(name)).paused:
            await asyncio.sleep(self._resume_poll_seconds)
        return Target(
            endpoint=endpoint,
            url=f"{replica_of(endpoint, attempt).rstrip('/')}/chat/completions",
            api_key=endpoints.decrypt_key(self._secret, endpoint),
        )


def replica_of(endpoint: Endpoint, attempt: str) -> str:
    """The replica that serves an attempt: always the same one, for its prefix cache."""
    hashed = int.from_bytes(hashlib.sha256(attempt.encode()).digest()[:8], "big")
    return endpoint.replicas[hashed % len(endpoint.replicas)]
