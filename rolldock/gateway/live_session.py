"""One session as a gateway process knows it: its slots, its turns, its open calls.

Everything here can be rebuilt from the session log, which alone decides who holds a slot and which
reply counts. The connections are all that a process forgets when it ends.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from rolldock.errors import UnavailableError
from rolldock.gateway.budgets import Ledger
from rolldock.gateway.calls import Answer, CallTools, ModelCall, answer_of
from rolldock.gateway.completions import least_tokens
from rolldock.gateway.conversation import Conversation, Placement
from rolldock.gateway.dialects.base import AgentRequest, Dialect
from rolldock.gateway.dialects.chat_form import canonical
from rolldock.gateway.dialects.registry import dialect_named
from rolldock.gateway.engine_tokens import TokenPrefixes
from rolldock.gateway.facts import ABORTED_STATUS
from rolldock.gateway.patience import patiently
from rolldock.gateway.recall import Recall
from rolldock.gateway.refusals import BUDGETS, RefusedError, ended
from rolldock.gateway.relay import Relay
from rolldock.gateway.session_log import SessionLog
from rolldock.gateway.slots import Call, Retry, Slot, find_retry, slot_of
from rolldock.gateway.tasks import Tasks
from rolldock.gateway.turns import CallPlace
from rolldock.models.session import EndClaim, Session, TurnClaim, TurnError, TurnReply
from rolldock.models.spec import Delivery

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """What the sessions of one gateway process share."""

    gateway: str
    """The UUID drawn when it started."""
    tools: CallTools
    tasks: Tasks
    end_probe_seconds: float


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that has its slot."""

    slot: Slot
    call: Call


class LiveSession:
    """The turns of one attempt, past and open."""

    def __init__(self, record: Session, log: SessionLog, process: Process) -> None:
        self.record = record
        self._log = log
        self._process = process
        self._lock = asyncio.Lock()
        self._slots: list[Slot] = []
        self._conversations: dict[str, Conversation] = {}
        self._prefixes = TokenPrefixes()
        self._recall = Recall(log)
        self._ledger = Ledger(record.limits, record.created_at)
        self._end: EndClaim | None = None
        self._running: dict[int, asyncio.Task[Answer]] = {}
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def recover(cls, record: Session, log: SessionLog, process: Process) -> "LiveSession":
        """The session as its log tells it."""
        session = cls(record, log, process)
        found = await log.listing()
        await session._catch_up(len(found.claims))
        for slot in session._slots:
            slot.newest_claim = found.claims.get(slot.number, 1)
            slot.delivered = slot.number in found.delivered
        answered = [slot for slot in session._slots if slot.number in found.replies]
        replies = await log.replies([slot.number for slot in answered])
        for slot, reply in zip(answered, replies, strict=True):
            await session._learn(slot, reply)
        return session

    @property
    def idle(self) -> bool:
        """Whether nothing would be forgotten if this process forgot the session."""
        return not self._running and all(slot.abandoned for slot in self._slots)

    async def admit(
        self, dialect: Dialect, request: AgentRequest, connection: asyncio.BaseTransport
    ) -> Admission:
        """Give a request its slot: one that it asks for again, or the next one.

        Raises:
            RefusedError: the session has ended, or this request ends it.
            UnavailableError: the store does not answer.
        """
        if self.record.delivery is Delivery.LIVE and request.stream and dialect.only_whole:
            message = f"{dialect.name} is not delivered live: use held delivery, or do not stream"
            raise RefusedError(400, "live_not_supported", message)
        async with self._lock:
            request = await self._recall.restored(request)
            retry = find_retry(self._slots, request)
            if retry is not None:
                return await self._join(retry, dialect, request, connection)
            return await self._claim_next(dialect, request, connection)

    def mark_delivered(self, slot: Slot) -> None:
        """The last byte of a slot's answer went to the agent."""
        if not slot.delivered:
            slot.delivered = True
            slot.original = slot.joined = None
            mark = self._log.mark_delivered(slot.number)
            self._process.tasks.spawn(mark, f"{self.record.attempt} delivered {slot.number}")

    async def _claim_next(
        self, dialect: Dialect, request: AgentRequest, connection: asyncio.BaseTransport
    ) -> Admission:
        await self._refuse_over()
        placement = self._place(dialect, request)
        claim = self._turn_claim(len(self._slots), request, assumed=False)
        while not await self._log.claim(len(self._slots), claim):
            await self._catch_up()
            await self._refuse_over()
            placement = self._place(dialect, request)
            claim = self._turn_claim(len(self._slots), request, assumed=False)
        slot = slot_of(len(self._slots), claim)
        self._ledger.reserve(slot.number, claim.reserved_output_tokens)
        slot.original = connection
        self._slots.append(slot)
        return Admission(slot, self._start(slot, dialect, request, placement))

    async def _join(
        self,
        retry: Retry,
        dialect: Dialect,
        request: AgentRequest,
        connection: asyncio.BaseTransport,
    ) -> Admission:
        slot = retry.slot
        if slot.digest != request.digest:
            message = "this Idempotency-Key was used with another body"
            raise RefusedError(400, "idempotency_key_reused", message)
        await self._catch_up()
        if self._end is not None and self._end.reason not in BUDGETS:
            raise ended(self._end)
        if not (slot.answered or slot.in_flight):
            stored = await self._log.reply(slot.number)
            if stored is not None:
                await self._learn(slot, stored)
        if retry.assumed or not (slot.answered or slot.in_flight):
            await self._claim_again(slot, request, assumed=retry.assumed)
        call = slot.call
        if slot.answered:
            name = f"{self.record.attempt} again {slot.number}"
            call = Call(self._process.tasks.spawn(self._stored(slot.number, dialect), name))
        elif call is None or call.failed:
            placement = self._place(dialect, request)
            call = self._start(slot, dialect, request, placement)
        slot.joined = connection
        return Admission(slot, call)

    async def _claim_again(self, slot: Slot, request: AgentRequest, *, assumed: bool) -> None:
        """Take a slot over from a gateway that is gone, or put an assumed retry on record."""
        claim = self._turn_claim(slot.number, request, assumed=assumed)
        won = False
        while not won:
            slot.newest_claim += 1
            won = await self._log.claim(slot.number, claim, takeover=slot.newest_claim)

    def _turn_claim(self, slot: int, request: AgentRequest, *, assumed: bool) -> TurnClaim:
        limits = (self.record.sampling.max_tokens, self._ledger.output_left(slot))
        return TurnClaim(
            gateway=self._process.gateway,
            request_digest=request.digest,
            idempotency_key=request.idempotency_key,
            assumed_retry=assumed,
            reserved_output_tokens=least_tokens(request.chat, limits) or 0,
            claimed_at=datetime.now(UTC),
        )

    def _start(
        self, slot: Slot, dialect: Dialect, request: AgentRequest, placement: Placement
    ) -> Call:
        if placement.parent is not None:
            self._slots[placement.parent].has_child = True
        live = self.record.delivery is Delivery.LIVE and request.stream
        relay = Relay() if live else None
        attempt = self.record.attempt
        model = ModelCall(
            self._process.tools,
            self.record,
            dialect,
            CallPlace(attempt, slot.number, request, placement, datetime.now(UTC)),
            self._ledger.output_left(slot.number),
            self._prefixes,
            relay,
        )
        tasks = self._process.tasks
        self._running[slot.number] = tasks.spawn(model.run(), f"{attempt} ask {slot.number}")
        concluded = self._conclude(slot, model, dialect, placement)
        slot.call = Call(tasks.spawn(concluded, f"{attempt} slot {slot.number}"), relay)
        if self._watcher is None or self._watcher.done():
            self._watcher = tasks.spawn(self._watch(), f"{attempt} watch")
        return slot.call

    async def _conclude(
        self, slot: Slot, model: ModelCall, dialect: Dialect, placement: Placement
    ) -> Answer:
        """Wait for a call, record its answer, and give what is recorded."""
        asking = self._running[slot.number]
        try:
            await asyncio.wait({asking})
            if asking.cancelled() and self._end is not None:
                answer = model.aborted(str(ended(self._end)), ABORTED_STATUS)
            else:
                answer = asking.result()
            reply = answer.reply
            recorded = await patiently(lambda: self._log.answer(slot.number, reply))
            if recorded is reply:
                self._take_up(slot, recorded, placement)
                return answer
            await self._learn(slot, recorded)
            return answer_of(dialect, recorded, self.record.attempt)
        finally:
            asking.cancel()
            del self._running[slot.number]

    async def _stored(self, slot: int, dialect: Dialect) -> Answer:
        reply = await self._log.reply(slot)
        if reply is None:
            raise UnavailableError(f"slot {slot} of {self._log.attempt} lost its reply")
        return answer_of(dialect, reply, self.record.attempt)

    async def _learn(self, slot: Slot, reply: TurnReply | TurnError) -> None:
        """Take up what another process recorded, and first whatever that builds on."""
        if slot.answered:
            return
        if isinstance(reply, TurnError):
            self._take_up(slot, reply, None)
            return
        turn = reply.turn
        extends = None if turn.tokens is None else turn.tokens.extends
        for earlier in [self._slots[n] for n in (turn.parent, extends) if n is not None]:
            if not earlier.answered and (found := await self._log.reply(earlier.number)):
                await self._learn(earlier, found)
        conversation = self._conversation(dialect_named(turn.dialect))
        self._take_up(slot, reply, conversation.restore(turn))
        if turn.parent is not None:
            self._slots[turn.parent].has_child = True

    def _take_up(
        self, slot: Slot, reply: TurnReply | TurnError, placement: Placement | None
    ) -> None:
        slot.answered = True
        slot.call = None
        usage = reply.turn.usage if isinstance(reply, TurnReply) else None
        self._ledger.settle(slot.number, usage)
        if isinstance(reply, TurnReply) and placement is not None:
            turn = reply.turn
            conversation = self._conversation(dialect_named(turn.dialect))
            conversation.add(slot.number, placement, turn.message)
            self._recall.add(turn)
            if turn.tokens is not None:
                self._prefixes.add(slot.number, turn.tokens)

    def _place(self, dialect: Dialect, request: AgentRequest) -> Placement:
        items = () if request.native is None else request.native.items
        return self._conversation(dialect).place(request.messages, items)

    def _conversation(self, dialect: Dialect) -> Conversation:
        if dialect.name not in self._conversations:
            self._conversations[dialect.name] = Conversation(canonical)
        return self._conversations[dialect.name]

    async def _catch_up(self, n_known: int = 0) -> None:
        """Read the claims that others have made since the last look."""
        for claim in await self._log.follow(n_known):
            self._ledger.reserve(len(self._slots), claim.reserved_output_tokens)
            self._slots.append(slot_of(len(self._slots), claim))
        self._end = self._log.end_seen

    async def _refuse_over(self) -> None:
        """Raise if the session has ended, or end it if a budget is reached."""
        if self._end is None:
            for slot in [slot for slot in self._slots if not (slot.answered or slot.in_flight)]:
                # Another gateway's: what it has spent counts too.
                if (found := await self._log.reply(slot.number)) is not None:
                    await self._learn(slot, found)
            reason = self._ledger.reached(datetime.now(UTC))
            if reason is not None:
                self._end = await self._log.end(reason, by=f"gateway:{self._process.gateway}")
        if self._end is not None:
            raise ended(self._end)

    async def _watch(self) -> None:
        """While calls are open, look for END: a budget's lets them finish, any other aborts."""
        while self._running:
            await asyncio.wait(self._running.values(), timeout=self._process.end_probe_seconds)
            if all(asking.done() for asking in self._running.values()):
                return
            try:
                async with self._lock:
                    await self._catch_up()
            except UnavailableError as error:
                _log.warning("looking for the end of %s: %s", self._log.attempt, error)
            if self._end is not None and self._end.reason not in BUDGETS:
                for asking in self._running.values():
                    asking.cancel()
