"""How far an agent's session has come, read from its log while it grows: every reply once.

For a reader who waits. It ends nothing, decides nothing, and is not the trace.
"""

import asyncio
from typing import Final

from pydantic import Field, JsonValue

from rolldock.gateway.session_log import READS_AT_ONCE, SessionLog
from rolldock.models.base import Contract
from rolldock.models.session import TurnError, TurnReply
from rolldock.models.turn import Turn

_CALL_CHARACTERS: Final = 120
"""Of a tool call's arguments: the heartbeat that carries them is for a glance."""


class Progress(Contract):
    """A session so far. It travels in heartbeats, so that the next try goes on from there."""

    turns: int = Field(default=0, ge=0)
    replayed_turns: int = Field(default=0, ge=0)
    """Of those, the ones that a recording answered."""
    errors: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    last_tool_call: str | None = None
    """The newest turn's last tool call, its arguments cut; None: that turn called none."""
    last_turn_at: str | None = None
    """When the newest turn ended, to the second, in UTC."""
    unanswered: tuple[int, ...] = ()
    """Slots whose calls are at the model."""
    slots: int = Field(default=0, ge=0)
    """Slots that were looked at."""


class SessionProgress:
    """The progress of one session, look by look."""

    def __init__(self, log: SessionLog, known: Progress | None = None) -> None:
        self._log = log
        self.known = known or Progress()
        """What the looks so far have seen."""

    async def look(self) -> Progress:
        """Read the replies that are new. Where no claim is new and no call is open it reads none.

        Sees the claims that the log's own looks have found, and looks for no further ones.

        Raises:
            UnavailableError: the store does not answer.
        """
        seen = self.known
        slots = (*seen.unanswered, *range(seen.slots, self._log.n_claimed))
        # A session that a new try takes up late may have hundreds: the rest is for later looks.
        asked, later = slots[:READS_AT_ONCE], slots[READS_AT_ONCE:]
        replies = await asyncio.gather(*(self._log.reply(slot) for slot in asked))
        for reply in replies:
            seen = seen if reply is None else _with(seen, reply)
        still = [slot for slot, reply in zip(asked, replies, strict=True) if reply is None]
        left = [slot for slot in later if slot < seen.slots]
        self.known = seen.model_copy(
            update={
                "unanswered": (*still, *left),
                "slots": max(seen.slots, *(slot + 1 for slot in asked), 0),
            }
        )
        return self.known


def _with(seen: Progress, reply: TurnReply | TurnError) -> Progress:
    if isinstance(reply, TurnError):
        return seen.model_copy(update={"errors": seen.errors + 1})
    turn = reply.turn
    return seen.model_copy(
        update={
            "turns": seen.turns + 1,
            "replayed_turns": seen.replayed_turns + (turn.replayed is not None),
            "input_tokens": seen.input_tokens + turn.usage.input_tokens,
            "output_tokens": seen.output_tokens + turn.usage.output_tokens,
            "last_tool_call": _last_call(turn),
            "last_turn_at": f"{turn.ended_at:%Y-%m-%d %H:%M:%S}",
        }
    )


def _last_call(turn: Turn) -> str | None:
    calls = turn.message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return None
    call: JsonValue = calls[-1]
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return None
    arguments = str(function.get("arguments") or "")
    if len(arguments) > _CALL_CHARACTERS:
        arguments = f"{arguments[:_CALL_CHARACTERS]}…"
    return f"{str(function.get('name'))[:_CALL_CHARACTERS]} {arguments}".rstrip()
