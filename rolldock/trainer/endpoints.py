"""Endpoints under training: paused while weights change, resumed under a new policy version.

Each change is a new version of the endpoint's record; gateways see it at their next look. That no
older call is open any more is learnt from the store alone: gateways write down which sessions call
under which version, and which slots wait for a pause to end (`rolldock/gateway/endpoints.py`).
Nothing here speaks to a gateway or to a model server.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from rolldock.errors import RolldockError, UsageError
from rolldock.gateway.facts import SETTLE_SECONDS
from rolldock.gateway.refusals import BUDGETS
from rolldock.gateway.session_log import READS_AT_ONCE, SessionLog
from rolldock.models.base import Contract
from rolldock.models.endpoint import Endpoint
from rolldock.models.session import EndClaim, Session
from rolldock.store import endpoints, keys
from rolldock.store.store import Store

PAUSE_SECONDS: Final = 600.0
"""How long `pause` waits for open calls by default."""

_FIRST_LOOK_SECONDS: Final = 0.05
_LONGEST_LOOK_SECONDS: Final = 1.0
_NAMED: Final = 5
"""Open calls that an error names."""


class OpenCall(Contract):
    """A model call that began before a pause and has no reply yet."""

    rollout: str
    attempt: str
    slot: int


class CallsOpenError(RolldockError):
    """Raised when calls that began before a pause are still open after the wait for them."""

    def __init__(self, endpoint: Endpoint, calls: tuple[OpenCall, ...], seconds: float) -> None:
        named = ", ".join(f"{call.rollout} (turn {call.slot})" for call in calls[:_NAMED])
        more = f" and {len(calls) - _NAMED} more" if len(calls) > _NAMED else ""
        super().__init__(
            f"endpoint {endpoint.name} is paused, but after {seconds:g} s {len(calls)} older calls "
            f"are still open: {named}{more}: pause it again to go on waiting, cancel those "
            "rollouts, or resume it"
        )
        self.endpoint = endpoint
        self.calls = calls


async def pause_endpoint(store: Store, name: str, timeout_seconds: float) -> Endpoint:
    """Let no new call begin, and wait until no older one is open. Returns the paused record.

    A call that is open goes on to its end; what comes meanwhile waits in the gateway. Pausing again
    goes on waiting.

    Raises:
        UsageError: there is no such endpoint, or it was resumed meanwhile.
        CallsOpenError: older calls are still open; the endpoint stays paused.
        UnavailableError: the store does not answer.
    """
    paused = await endpoints.change(store, name, _paused)
    if paused.drained_version < paused.pause:
        await _drain(store, paused, timeout_seconds)
    drained = await endpoints.change(store, name, lambda current: _drained(current, paused))
    if not drained.paused or drained.pause != paused.pause:
        raise UsageError(f"endpoint {name} was resumed while it was being paused: pause it again")
    return drained


async def resume_endpoint(store: Store, name: str, policy_version: str | None) -> Endpoint:
    """Let the calls go that wait, under another policy version where one is given.

    Raises:
        UsageError: there is no such endpoint.
        UnavailableError: the store does not answer.
    """
    update = {"paused": False} | _policy(policy_version)
    return await endpoints.change(store, name, lambda now: now.model_copy(update=update))


async def set_policy_version(store: Store, name: str, version: str) -> Endpoint:
    """Say which policy answers from now on; calls that are open span the update.

    Raises:
        UsageError: there is no such endpoint, or the version is empty or too long.
        UnavailableError: the store does not answer.
    """
    update = _policy(version)
    return await endpoints.change(store, name, lambda now: now.model_copy(update=update))


def _policy(version: str | None) -> dict[str, str]:
    if version is None:
        return {}
    if not 1 <= len(version) <= 64:
        raise UsageError(f"policy version {version!r}: use 1 to 64 characters, such as 'step-12'")
    return {"policy_version": version}


def _paused(current: Endpoint) -> Endpoint:
    if current.paused:
        return current
    return current.model_copy(update={"paused": True, "pause_version": current.version + 1})


def _drained(current: Endpoint, paused: Endpoint) -> Endpoint:
    """The record that says that nothing older is open, unless it says so already."""
    newest = max(current.drained_version, paused.pause)
    return current.model_copy(update={"drained_version": newest})


async def _drain(store: Store, paused: Endpoint, timeout_seconds: float) -> None:
    """Look at the sessions that have called until none of them has an older call."""
    attempts = await endpoints.callers(store, paused.name, paused.drained_version, paused.pause)
    left = [_Caller(store, paused, attempt) for attempt in sorted(attempts)]
    loop = asyncio.get_running_loop()
    until, delay = loop.time() + timeout_seconds, _FIRST_LOOK_SECONDS
    while left := await _still_open(left):
        if loop.time() >= until:
            calls = tuple(call for caller in left for call in caller.open_calls())
            raise CallsOpenError(paused, calls, timeout_seconds)
        await asyncio.sleep(min(delay, max(0.0, until - loop.time())))
        delay = min(delay * 2, _LONGEST_LOOK_SECONDS)


async def _still_open(callers: "list[_Caller]") -> "list[_Caller]":
    found: list[_Caller] = []
    for start in range(0, len(callers), READS_AT_ONCE):
        window = callers[start : start + READS_AT_ONCE]
        is_open = await asyncio.gather(*(caller.is_open() for caller in window))
        found.extend(one for one, still in zip(window, is_open, strict=True) if still)
    return found


class _Caller:
    """A session that has called, and those of its calls that may be older than a pause."""

    def __init__(self, store: Store, paused: Endpoint, attempt: str) -> None:
        self._store = store
        self._paused = paused
        self._attempt = attempt
        self._log = SessionLog(store, attempt)
        self._record: Session | None = None
        self._slots: list[int] | None = None
        self._ended_at: float | None = None

    def open_calls(self) -> list[OpenCall]:
        """The calls that were open at the last look."""
        rollout = self._attempt if self._record is None else self._record.rollout
        slots = self._slots or []
        return [OpenCall(rollout=rollout, attempt=self._attempt, slot=slot) for slot in slots]

    async def is_open(self) -> bool:
        """Whether any of its calls may still be at the model server."""
        if self._slots is None:
            # Later claims are made by who sees the pause: only the first look has to list.
            self._slots = await self._unanswered()
        open_slots = [slot for slot in self._slots if await self._is_open(slot)]
        self._slots = open_slots
        return bool(open_slots) and not await self._is_over()

    async def _unanswered(self) -> list[int]:
        found = await self._log.listing()
        slots = sorted(found.claims.keys() - found.replies)
        if slots and isinstance(await self._log.read_claim(slots[-1]), EndClaim):
            slots.pop()
        if slots:
            await self._log.follow(len(found.claims))
            self._record = await self._log.session()
        return slots

    async def _is_open(self, slot: int) -> bool:
        if await endpoints.is_waiting(self._store, self._paused, self._attempt, slot):
            return False
        return await self._store.get(keys.reply(self._attempt, slot)) is None

    async def _is_over(self) -> bool:
        """Whether nothing that is open would still count: its token has expired, its trace is
        sealed, or its END has had the time that a living gateway needs to abort calls."""
        if self._record is not None and self._record.expires_at <= datetime.now(UTC):
            return True
        if await self._store.get(keys.trace(self._attempt)) is not None:
            return True
        end = await self._log.ended()
        if end is None or end.reason in BUDGETS:
            return False
        now = asyncio.get_running_loop().time()
        self._ended_at = self._ended_at or now
        return now - self._ended_at >= SETTLE_SECONDS
