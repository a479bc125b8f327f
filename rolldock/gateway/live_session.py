"""One session at a gateway process: which slot a request gets, and its open calls.

The session log alone decides who holds a slot and which reply counts. The connections are all that
a process forgets when it ends.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from rolldock.errors import UnavailableError
from rolldock.gateway.calls import Answer, ModelCall, SlotCall, answer_of, in_form
from rolldock.gateway.completions import least_tokens
from rolldock.gateway.conversation import Placement
from rolldock.gateway.dialects.base import AgentRequest, Dialect
from rolldock.gateway.engines.base import EngineCall
from rolldock.gateway.facts import ABORTED_STATUS
from rolldock.gateway.known import Known
from rolldock.gateway.patience import patiently
from rolldock.gateway.place import CallPlace
from rolldock.gateway.process import Process
from rolldock.gateway.refusals import BUDGETS, RefusedError, ended
from rolldock.gateway.relay import Relay
from rolldock.gateway.replaying.player import Player, open_player
from rolldock.gateway.session_log import SessionLog
from rolldock.gateway.slots import Call, Retry, Slot, slot_of
from rolldock.models.session import EndReason, Session, TurnClaim, TurnError, TurnReply
from rolldock.models.spec import Delivery

_log = logging.getLogger(__name__)


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
        self._known = Known(record, log)
        self._asking: dict[int, asyncio.Timeout] = {}
        """Of the slots whose model is being asked, the scope that aborts the call."""
        self._looks = False
        """Whether the next look for END is on its way."""

    @classmethod
    async def recover(cls, record: Session, log: SessionLog, process: Process) -> "LiveSession":
        """The session as its log tells it.

        Raises:
            RefusedError: it replays a recording that is gone or damaged.
            UnavailableError: the store does not answer.
        """
        session = cls(record, log, process)
        store = process.tools.store
        played = await open_player(store, process.recordings, record, session._gateway)
        session._known.player = played
        await session._known.recover()
        return session

    @property
    def player(self) -> Player | None:
        """What answers its calls from a recording; None: the model answers all of them."""
        return self._known.player

    @property
    def idle(self) -> bool:
        """Whether nothing would be forgotten if this process forgot the session."""
        return all(slot.abandoned and not slot.in_flight for slot in self._known.slots)

    async def admit(
        self, dialect: Dialect, request: AgentRequest, connection: asyncio.BaseTransport
    ) -> Admission:
        """Give a request its slot: one that it asks for again, or the next one.

        Raises:
            RefusedError: the session has ended, or this request ends it.
            UnavailableError: the store does not answer.
        """
        async with self._lock:
            request = await self._known.recall.restored(request)
            retry = await self._known.retry_of(request)
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
        while True:
            await self._refuse_over()
            placement = self._known.place(dialect, request)
            claim = self._turn_claim(len(self._known.slots), request, assumed=False)
            if await self._log.claim(len(self._known.slots), claim):
                break
            await self._known.catch_up()
            # What another gateway claimed meanwhile may be this very request, come here again.
            if (retry := await self._known.retry_of(request)) is not None:
                return await self._join(retry, dialect, request, connection)
        slot = slot_of(len(self._known.slots), claim)
        self._known.ledger.reserve(slot.number, claim.reserved_output_tokens)
        slot.original = connection
        self._known.slots.append(slot)
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
        await self._known.catch_up()
        if self._known.end is not None and self._known.end.reason not in BUDGETS:
            raise ended(self._known.end)
        if not (slot.answered or slot.in_flight):
            stored = await self._log.reply(slot.number)
            if stored is not None:
                await self._known.learn(slot, stored)
        if retry.assumed or not (slot.answered or slot.in_flight):
            await self._claim_again(slot, request, assumed=retry.assumed)
        call = slot.call
        if slot.answered:
            name = f"{self.record.attempt} again {slot.number}"
            call = Call(self._process.tasks.spawn(self._stored(slot.number, dialect), name))
        elif call is None or call.failed:
            placement = self._known.place(dialect, request)
            call = self._start(slot, dialect, request, placement)
        slot.joined = connection
        asked = in_form(call.answer, request.stream, self.record.attempt)
        name = f"{self.record.attempt} joined {slot.number}"
        return Admission(slot, Call(self._process.tasks.spawn(asked, name), call.relay))

    async def _claim_again(self, slot: Slot, request: AgentRequest, *, assumed: bool) -> None:
        """Take a slot over from a gateway that is gone, or put an assumed retry on record."""
        claim = self._turn_claim(slot.number, request, assumed=assumed)
        won = False
        while not won:
            slot.newest_claim += 1
            won = await self._log.claim(slot.number, claim, takeover=slot.newest_claim)

    def _turn_claim(self, slot: int, request: AgentRequest, *, assumed: bool) -> TurnClaim:
        limits = (self.record.sampling.max_tokens, self._known.ledger.output_left(slot))
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
            self._known.slots[placement.parent].has_child = True
        live = self.record.delivery is Delivery.LIVE and request.stream
        relay = Relay() if live else None
        attempt, tools = self.record.attempt, self._process.tools
        call = EngineCall(
            CallPlace(attempt, slot.number, request, placement, datetime.now(UTC)),
            self.record,
            dialect,
            self._known.ledger.output_left(slot.number),
            tools.upstream,
            self._known.prefixes,
            relay,
        )
        asked: SlotCall = ModelCall(tools, call)
        if self._known.player is not None:
            asked = self._known.player.call(tools, ModelCall(tools, call), call)
        concluded = self._conclude(slot, asked, dialect, placement)
        task = self._process.tasks.spawn(concluded, f"{attempt} slot {slot.number}")
        slot.call = Call(task, relay)
        return slot.call

    async def _conclude(
        self, slot: Slot, model: SlotCall, dialect: Dialect, placement: Placement
    ) -> Answer:
        """Ask the model, record its answer, and give what is recorded."""
        answer = await self._ask(slot.number, model)
        reply = answer.reply
        recorded = await patiently(lambda: self._log.answer(slot.number, reply))
        if recorded is reply:
            self._known.take_up(slot, recorded, placement)
            await self._end_diverged()
            return answer
        await self._known.learn(slot, recorded)
        return await self._again(dialect, recorded)

    async def _ask(self, slot: int, model: SlotCall) -> Answer:
        """Ask the model, or say that END came first."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._asking[slot] = scope
                self._look_later()
                return await model.run()
        except TimeoutError:
            if self._known.end is None or not scope.expired():
                raise
            return model.aborted(str(ended(self._known.end)), ABORTED_STATUS)
        finally:
            self._asking.pop(slot, None)

    async def _stored(self, slot: int, dialect: Dialect) -> Answer:
        reply = await self._log.reply(slot)
        if reply is None:
            raise UnavailableError(f"slot {slot} of {self._log.attempt} lost its reply")
        return await self._again(dialect, reply)

    async def _again(self, dialect: Dialect, reply: TurnReply | TurnError) -> Answer:
        """A recorded reply, as the agent gets it."""
        store = self._process.tools.store
        return await patiently(lambda: answer_of(store, dialect, reply, self.record.attempt))

    async def _refuse_over(self) -> None:
        """Raise if the session has ended, or end it if a budget is reached."""
        if self._known.end is None:
            for slot in [
                slot for slot in self._known.slots if not (slot.answered or slot.in_flight)
            ]:
                # Another gateway's: what it has spent counts too.
                if (found := await self._log.reply(slot.number)) is not None:
                    await self._known.learn(slot, found)
            reason = self._known.ledger.reached(datetime.now(UTC))
            if self._known.diverged:
                reason = EndReason.REPLAY_DIVERGED
            if reason is not None:
                self._known.end = await self._log.end(reason, by=self._gateway)
        if self._known.end is not None:
            raise ended(self._known.end)

    async def _end_diverged(self) -> None:
        """End a replay whose agent has asked what was not recorded, before it learns of that."""
        if self._known.diverged:
            async with self._lock:
                await patiently(self._known.catch_up)
                if self._known.end is None:
                    self._known.end = await patiently(
                        lambda: self._log.end(EndReason.REPLAY_DIVERGED, by=self._gateway)
                    )

    @property
    def _gateway(self) -> str:
        return f"gateway:{self._process.gateway}"

    def _look_later(self) -> None:
        """Look for END once the model has had some time."""
        if not self._looks:
            self._looks = True
            loop = asyncio.get_running_loop()
            loop.call_later(self._process.end_probe_seconds, self._look_now)

    def _look_now(self) -> None:
        self._looks = bool(self._asking)
        if self._looks:
            self._process.tasks.spawn(self._look(), f"{self.record.attempt} look for END")

    async def _look(self) -> None:
        """Look for END, and again later: a budget's lets open calls finish, any other aborts."""
        try:
            async with self._lock:
                await self._known.catch_up()
        except UnavailableError as error:
            _log.warning("looking for the end of %s: %s", self._log.attempt, error)
        if self._known.end is not None and self._known.end.reason not in BUDGETS:
            for scope in self._asking.values():
                scope.reschedule(0.0)
            self._asking.clear()
        self._looks = False
        if self._asking:
            self._look_later()
