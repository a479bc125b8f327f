"""What a gateway process knows of one session: its slots, its turns, what they cost.

Everything here is read from the session log, and can be read again. It claims nothing and calls no
model.
"""

from rolldock.gateway.budgets import Ledger
from rolldock.gateway.conversation import Conversation, Placement
from rolldock.gateway.dialects.base import AgentRequest, Dialect
from rolldock.gateway.dialects.chat_form import canonical
from rolldock.gateway.dialects.registry import dialect_named
from rolldock.gateway.engine_tokens import TokenPrefixes
from rolldock.gateway.recall import Recall
from rolldock.gateway.replaying.player import Player
from rolldock.gateway.session_log import SessionLog
from rolldock.gateway.slots import Retry, Slot, find_retry, slot_of
from rolldock.models.session import EndClaim, Session, TurnError, TurnReply


class Known:
    """The turns of one attempt, past and open, as far as they were read or made here."""

    def __init__(self, record: Session, log: SessionLog) -> None:
        self.slots: list[Slot] = []
        self.prefixes = TokenPrefixes()
        self.ledger = Ledger(record.limits, record.created_at)
        self.end: EndClaim | None = None
        self.recall = Recall(log)
        self.player: Player | None = None
        """What answers calls from a recording; None: the model answers all of them."""
        self._log = log
        self._conversations: dict[str, Conversation] = {}

    @property
    def diverged(self) -> bool:
        """Whether this replay has met a call that was not recorded, and is to stop there."""
        return self.player is not None and self.player.stopped

    async def recover(self) -> None:
        """Read the whole log."""
        if await self._log.read_claim(0) is None:
            return
        found = await self._log.listing()
        await self.catch_up(len(found.claims))
        for slot in self.slots:
            slot.newest_claim = found.claims.get(slot.number, 1)
            slot.delivered = slot.number in found.delivered
        answered = [slot for slot in self.slots if slot.number in found.replies]
        replies = await self._log.replies([slot.number for slot in answered])
        for slot, reply in zip(answered, replies, strict=True):
            await self.learn(slot, reply)

    async def learn(self, slot: Slot, reply: TurnReply | TurnError) -> None:
        """Take up what another process recorded, and first whatever that builds on."""
        if slot.answered:
            return
        if isinstance(reply, TurnError):
            self.take_up(slot, reply, None)
            return
        turn = reply.turn
        extends = None if turn.tokens is None else turn.tokens.extends
        for earlier in [self.slots[n] for n in (turn.parent, extends) if n is not None]:
            if not earlier.answered and (found := await self._log.reply(earlier.number)):
                await self.learn(earlier, found)
        conversation = self._conversation(dialect_named(turn.dialect))
        self.take_up(slot, reply, conversation.restore(turn))
        if turn.parent is not None:
            self.slots[turn.parent].has_child = True

    def take_up(
        self, slot: Slot, reply: TurnReply | TurnError, placement: Placement | None
    ) -> None:
        slot.answered = True
        slot.call = None
        usage = reply.turn.usage if isinstance(reply, TurnReply) else None
        self.ledger.settle(slot.number, usage)
        if self.player is not None:
            self.player.take_up(slot.number, reply)
        if isinstance(reply, TurnReply) and placement is not None:
            turn = reply.turn
            conversation = self._conversation(dialect_named(turn.dialect))
            reply_id = turn.reply.fields.get("id")
            conversation.add(slot.number, placement, turn.message, reply_id)
            self.recall.add(turn)
            if turn.tokens is not None:
                self.prefixes.add(slot.number, turn.tokens)

    def place(self, dialect: Dialect, request: AgentRequest) -> Placement:
        items = () if request.native is None else request.native.items
        return self._conversation(dialect).place(request.messages, items, request.continues)

    def _conversation(self, dialect: Dialect) -> Conversation:
        if dialect.name not in self._conversations:
            self._conversations[dialect.name] = Conversation(canonical)
        return self._conversations[dialect.name]

    async def retry_of(self, request: AgentRequest) -> Retry | None:
        """The slot that a request asks for again; None: it is a new turn."""
        while (retry := find_retry(self.slots, request)) is not None:
            slot = retry.slot
            is_ours = slot.original is not None
            if is_ours or slot.delivered or not await self._log.is_delivered(slot.number):
                return retry
            # Another gateway has delivered it since we learnt of it.
            slot.delivered = True
        return None

    async def catch_up(self, n_known: int = 0) -> None:
        """Read the claims that others have made since the last look."""
        for claim in await self._log.follow(n_known):
            self.ledger.reserve(len(self.slots), claim.reserved_output_tokens)
            self.slots.append(slot_of(len(self.slots), claim))
        self.end = self._log.end_seen
