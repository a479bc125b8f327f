"""The model servers behind endpoint names, each looked at anew before and after every call.

One get of the next version, normally absent, tells whether a record has changed. What a call writes
down, so that `pause` knows when no older one is open (`rolldock/trainer/endpoints.py`): its session
once per version, before the look that lets the call go; and its slot, while it waits for a pause
to end. So either the look sees the pause, or the pause sees the session.
"""

import asyncio
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from rolldock.errors import UsageError
from rolldock.gateway.clocks import Pauses, TryClock
from rolldock.gateway.patience import patiently
from rolldock.models.endpoint import Endpoint
from rolldock.store import endpoints, keys
from rolldock.store.store import Store

_VERSION_SEGMENT: Final = "/v1"


@dataclass(frozen=True, slots=True)
class Target:
    """One version of an endpoint, ready to be called once for one session."""

    endpoint: Endpoint
    base_url: str
    """The session's replica, which ends before `/chat/completions`."""
    api_key: str | None
    clock: TryClock

    @property
    def root_url(self) -> str:
        """Where the server's own paths begin, beside the OpenAI ones."""
        return server_root(self.base_url)

    @property
    def bearer(self) -> dict[str, str]:
        """The header by which most model servers are told the key."""
        return {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}


class Endpoints:
    """The endpoints that this process has met, each at the newest version seen."""

    def __init__(self, store: Store, secret: bytes, resume_poll_seconds: float) -> None:
        self._store = store
        self._secret = secret
        self._resume_poll_seconds = resume_poll_seconds
        self._known: dict[str, Endpoint] = {}
        self._paused_seconds: defaultdict[str, float] = defaultdict(float)
        self._looking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._callers: dict[str, tuple[int, set[str]]] = {}

    async def newest(self, name: str) -> Endpoint:
        """The newest version of an endpoint.

        Raises:
            UsageError: there is no such endpoint.
            UnavailableError: the store does not answer.
        """
        if name not in self._known:
            found = await endpoints.newest(self._store, name)
            if found is None:
                raise UsageError(
                    f"endpoint {name} does not exist: add it with `rolldock endpoint add`"
                )
            self._take_up(found)
        while later := await self._store.get(keys.endpoint(name, self._known[name].version + 1)):
            self._take_up(Endpoint.model_validate_json(later))
        return self._known[name]

    async def ready(self, name: str, attempt: str, slot: int) -> Target:
        """Wait while an endpoint is paused, then say where an attempt's call goes.

        Raises:
            UsageError: no such endpoint, or its key cannot be decrypted.
            UnavailableError: the store does not answer.
        """
        while True:
            endpoint = await self.newest(name)
            if endpoint.paused:
                await endpoints.mark_waiting(self._store, endpoint, attempt, slot)
                await self._later_than(endpoint)
                continue
            marked = self._callers_of(endpoint)
            if attempt in marked:
                return self._target(endpoint, attempt)
            await endpoints.mark_caller(self._store, endpoint, attempt)
            marked.add(attempt)

    def paused_seconds(self, name: str) -> float:
        """How long an endpoint was paused, over all pauses whose end this process has seen."""
        return self._paused_seconds[name]

    async def pause_over(self, name: str) -> None:
        """Look at an endpoint, and return when it is not paused (any more).

        Raises:
            UnavailableError: the store has not answered for long.
        """
        while (endpoint := await patiently(lambda: self.newest(name))).paused:
            await self._later_than(endpoint)

    def _target(self, endpoint: Endpoint, attempt: str) -> Target:
        return Target(
            endpoint=endpoint,
            base_url=replica_of(endpoint, attempt).rstrip("/"),
            api_key=endpoints.decrypt_key(self._secret, endpoint),
            clock=TryClock(_EndpointPauses(self, endpoint.name)),
        )

    def _callers_of(self, endpoint: Endpoint) -> set[str]:
        """The attempts whose mark that they call this version is written."""
        known = self._callers.get(endpoint.name)
        if known is None or known[0] != endpoint.version:
            known = (endpoint.version, set[str]())
            self._callers[endpoint.name] = known
        return known[1]

    async def _later_than(self, seen: Endpoint) -> None:
        """Wait for the next version; of all that wait for one endpoint, one looks."""
        while self._known[seen.name].version == seen.version:
            async with self._looking[seen.name]:
                if self._known[seen.name].version == seen.version:
                    await asyncio.sleep(self._resume_poll_seconds)
                    await patiently(lambda: self.newest(seen.name))

    def _take_up(self, record: Endpoint) -> None:
        known = self._known.get(record.name)
        if known is not None and record.version <= known.version:
            return
        if known is not None and known.paused:
            lasted = (record.created_at - known.created_at).total_seconds()
            self._paused_seconds[record.name] += max(0.0, lasted)
        self._known[record.name] = record


class _EndpointPauses(Pauses):
    """The pauses of one endpoint."""

    def __init__(self, known: Endpoints, name: str) -> None:
        self._endpoints = known
        self._name = name

    @property
    def known_seconds(self) -> float:
        return self._endpoints.paused_seconds(self._name)

    async def waited_out(self) -> None:
        await self._endpoints.pause_over(self._name)


def server_root(base_url: str) -> str:
    """Where a server's own paths begin, given the base of its OpenAI ones."""
    return base_url.rstrip("/").removesuffix(_VERSION_SEGMENT)


def replica_of(endpoint: Endpoint, attempt: str) -> str:
    """The replica that serves an attempt: always the same one, for its prefix cache."""
    hashed = int.from_bytes(hashlib.sha256(attempt.encode()).digest()[:8], "big")
    return endpoint.replicas[hashed % len(endpoint.replicas)]
