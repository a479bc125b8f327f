"""The session log: claims, replies and END of one attempt, as create-once records in the store.

Slots are dense: slot n is claimed only after claim n-1 was read and is no END. Whoever creates a
name first wins; everybody else reads what is there. This is the bare protocol: which request is a
retry, when a budget is reached and what a turn holds are decided elsewhere.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import orjson

from rolldock.models.base import JsonObject, Record
from rolldock.models.session import (
    CLAIM,
    REPLY,
    EndClaim,
    EndReason,
    Session,
    TurnClaim,
    TurnError,
    TurnReply,
)
from rolldock.store import keys
from rolldock.store.store import Store

READS_AT_ONCE: Final = 32
"""Records of one session that are read side by side."""


@dataclass(slots=True)
class Listing:
    """Which records a session has, by one listing of the store."""

    claims: dict[int, int] = field(default_factory=dict[int, int])
    """Slot -> the number of its newest claim: 1, more after takeovers."""
    replies: set[int] = field(default_factory=set[int])
    delivered: set[int] = field(default_factory=set[int])


class SessionLog:
    """The log of one attempt's session.

    Raises:
        UnavailableError: from every method, when the store does not answer.
    """

    def __init__(self, store: Store, attempt: str) -> None:
        self._store = store
        self.attempt = attempt
        self._next = 0
        self._end: EndClaim | None = None
        self._turns: set[int] = set()
        self._errors: set[int] = set()

    @property
    def end_seen(self) -> EndClaim | None:
        """END, if a look has found it so far."""
        return self._end

    @property
    def n_claimed(self) -> int:
        """Slots whose claim was seen or made here."""
        return self._next

    async def open(self, session: Session) -> None:
        """Write the session record, before the agent starts; one that exists stays as it is."""
        await self._store.create(keys.session(self.attempt), session.model_dump_json().encode())

    async def session(self) -> Session | None:
        """The session record; None: the session was never opened."""
        found = await self._store.get(keys.session(self.attempt))
        # A later version's limits may have fields that this one does not know.
        return None if found is None else Session.model_validate_json(found, extra="allow")

    async def claim(self, slot: int, claim: TurnClaim, takeover: int = 1) -> bool:
        """Claim a slot, or take it over. Returns whether the claim in the log is this one."""
        name, content = keys.claim(self.attempt, slot, takeover), _json(claim)
        won = await self._store.create(name, content)
        if not won:
            # A store over a network repeats a write whose answer was lost, and meets its own.
            won = await self._store.get(name) == content
        if won and takeover == 1 and slot == self._next:
            self._next += 1
        return won

    async def read_claim(self, slot: int, takeover: int = 1) -> TurnClaim | EndClaim | None:
        """A slot's claim; None: not claimed."""
        found = await self._store.get(keys.claim(self.attempt, slot, takeover))
        return None if found is None else CLAIM.validate_json(found)

    async def answer(self, slot: int, reply: TurnReply | TurnError) -> TurnReply | TurnError:
        """Record a slot's reply.

        Returns:
            What is recorded: this reply itself, or the one that came first.
        """
        name, content = keys.reply(self.attempt, slot), _json(reply)
        if await self._store.create(name, content):
            return reply
        found = await self._store.get(name)
        # As with a claim, what is there may be this very reply.
        return reply if found in (None, content) else REPLY.validate_json(found)

    async def reply(self, slot: int) -> TurnReply | TurnError | None:
        """A slot's recorded reply; None: not answered yet."""
        found = await self._store.get(keys.reply(self.attempt, slot))
        return None if found is None else REPLY.validate_json(found)

    async def replies(self, slots: Sequence[int]) -> list[TurnReply | TurnError]:
        """The recorded replies of some slots, in their order; those without one are left out."""
        found: list[TurnReply | TurnError | None] = []
        for start in range(0, len(slots), READS_AT_ONCE):
            window = slots[start : start + READS_AT_ONCE]
            found.extend(await asyncio.gather(*(self.reply(slot) for slot in window)))
        return [reply for reply in found if reply is not None]

    async def mark_delivered(self, slot: int) -> None:
        """Record that a slot's last byte was written to the client."""
        await self._store.create(keys.delivered(self.attempt, slot), b"")

    async def is_delivered(self, slot: int) -> bool:
        """Whether a slot's last byte was written to a client, by whichever gateway."""
        return await self._store.get(keys.delivered(self.attempt, slot)) is not None

    async def end(self, reason: EndReason, by: str, detail: str | None = None) -> EndClaim:
        """Append END. Returns the session's END: this one, or the one that was there first."""
        while True:
            existing = await self.ended()
            if existing is not None:
                return existing
            claim = EndClaim(reason=reason, by=by, detail=detail, claimed_at=datetime.now(UTC))
            if await self._store.create(keys.claim(self.attempt, self._next), _json(claim)):
                self._end = claim
                return claim

    async def ended(self) -> EndClaim | None:
        """The session's END; None: it takes turns. Goes on where the last look stopped."""
        if self._end is None:
            await self.follow()
        return self._end

    async def follow(self, n_known: int = 0) -> list[TurnClaim]:
        """The turns' claims after those that were seen or made here, up to END.

        `n_known` claims are known to exist, so that they are read side by side.
        """
        seen: list[TurnClaim] = []
        while self._end is None:
            width = min(max(1, n_known - self._next), READS_AT_ONCE)
            slots = range(self._next, self._next + width)
            for claim in await asyncio.gather(*(self.read_claim(slot) for slot in slots)):
                if claim is None:
                    return seen
                if isinstance(claim, EndClaim):
                    self._end = claim
                    break
                seen.append(claim)
                self._next += 1
        return seen

    async def n_turns(self) -> int:
        """How many turns are recorded; errors and unanswered claims are none."""
        await self.ended()
        for slot in range(self._next):
            if slot not in self._turns and slot not in self._errors:
                reply = await self.reply(slot)
                if reply is not None:
                    (self._turns if isinstance(reply, TurnReply) else self._errors).add(slot)
        return len(self._turns)

    async def listing(self) -> Listing:
        """Which records exist, read by name alone."""
        found = Listing()
        async for path in self._store.names(f"sessions/{self.attempt}"):
            number, _, kind = path.rsplit("/", 1)[-1].partition(".")
            if not number.isdecimal():
                continue
            slot = int(number)
            if kind == "reply":
                found.replies.add(slot)
            elif kind == "delivered":
                found.delivered.add(slot)
            else:
                takeover = int(kind.partition(".")[2] or 1)
                found.claims[slot] = max(takeover, found.claims.get(slot, 1))
        return found


def _json(record: TurnClaim | EndClaim | TurnReply | TurnError) -> bytes:
    """A record as JSON: the bytes that pydantic would write, in a third of the time."""
    return orjson.dumps(record, default=_fields, option=orjson.OPT_UTC_Z)


def _fields(record: Record) -> JsonObject:
    return record.__dict__ | (record.__pydantic_extra__ or {})
