"""Which recorded turns were asked of the model again: none may be, whatever died.

The scripted model server keeps a journal of the calls that it received. A slot may be asked twice
only where the first call's reply was not yet recorded: at most the calls in flight are paid twice.
"""

from collections import defaultdict
from datetime import datetime

from rolldock.models.result import AttemptResult
from rolldock.models.session import REPLY, TurnReply
from rolldock.store import keys
from tests.chaos.arena import Arena


async def asked_again(arena: Arena, attempt: AttemptResult) -> list[str]:
    """The slots of an attempt that were asked after their turn was recorded, one line each."""
    calls = defaultdict[int, list[datetime]](list)
    for entry in await arena.model.journal():
        if entry.session == attempt.attempt and entry.slot is not None:
            calls[entry.slot].append(entry.received_at)
    n_turns = 0 if attempt.trace is None else attempt.trace.n_turns
    if len(calls) < n_turns:
        return [f"{n_turns} turns recorded, but only {len(calls)} in the model server's journal"]
    problems: list[str] = []
    for slot, times in sorted(calls.items()):
        recorded_at = await _recorded_at(arena, attempt.attempt, slot)
        late = [time for time in sorted(times)[1:] if recorded_at and time > recorded_at]
        if late:
            problems.append(f"slot {slot} was asked {len(late)} times after it was recorded")
    return problems


async def _recorded_at(arena: Arena, attempt: str, slot: int) -> datetime | None:
    """When a slot's turn ended; None: no turn is recorded for it."""
    content = await arena.client.store.get(keys.reply(attempt, slot))
    reply = None if content is None else REPLY.validate_json(content)
    return reply.turn.ended_at if isinstance(reply, TurnReply) else None
