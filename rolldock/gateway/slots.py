"""The slots of a session as this process knows them, and which of them a request asks for again.

Pure state and one rule; nothing is read or written here.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rolldock.gateway.calls import Answer
from rolldock.gateway.dialects.base import AgentRequest
from rolldock.gateway.relay import Relay
from rolldock.models.session import TurnClaim


@dataclass(frozen=True, slots=True)
class Call:
    """A slot's answer on its way in this process."""

    answer: "asyncio.Task[Answer]"
    relay: Relay | None = None
    """Under live delivery what has come so far; None: the answer comes whole."""

    @property
    def failed(self) -> bool:
        """Whether it ended without an answer, so that nothing is recorded."""
        task = self.answer
        return task.done() and (task.cancelled() or task.exception() is not None)


@dataclass(slots=True)
class Slot:
    """One claimed slot."""

    number: int
    digest: str
    idempotency_key: str | None
    newest_claim: int = 1
    """Number of its newest claim: more than 1 after takeovers."""
    call: Call | None = None
    answered: bool = False
    delivered: bool = False
    has_child: bool = False
    original: asyncio.BaseTransport | None = None
    """The connection that claimed it; None: another process's."""
    joined: asyncio.BaseTransport | None = None
    """The connection of the newest retry."""

    @property
    def in_flight(self) -> bool:
        """Whether this process is getting its answer."""
        return self.call is not None and not self.call.failed

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for its answer any more."""
        return not (is_open(self.original) or is_open(self.joined))


@dataclass(frozen=True, slots=True)
class Retry:
    """The slot that a request asks for again."""

    slot: Slot
    assumed: bool
    """Without an idempotency key or a retry header: only its connection was gone."""


def slot_of(number: int, claim: TurnClaim) -> Slot:
    """A slot as its first claim describes it."""
    return Slot(number, claim.request_digest, claim.idempotency_key)


def find_retry(slots: Sequence[Slot], request: AgentRequest) -> Retry | None:
    """The slot that a request repeats; None: it is a new turn.

    A key decides alone. Without one it is the newest slot with the same digest whose turn neither
    arrived nor was continued and that no other retry waits for: one whose connection is gone, else,
    if the client says that it retries, any.
    """
    if request.idempotency_key is not None:
        same = [slot for slot in slots if slot.idempotency_key == request.idempotency_key]
        return Retry(same[-1], assumed=False) if same else None
    waiting = [
        slot
        for slot in reversed(slots)
        if slot.digest == request.digest
        and not (slot.delivered or slot.has_child or is_open(slot.joined))
    ]
    left = next((slot for slot in waiting if slot.abandoned), None)
    if left is not None:
        return Retry(left, assumed=request.retry_count == 0)
    if waiting and request.retry_count > 0:
        return Retry(waiting[0], assumed=False)
    return None


def is_open(connection: asyncio.BaseTransport | None) -> bool:
    """Whether a client is still at the other end, as far as we were told."""
    return connection is not None and not connection.is_closing()
