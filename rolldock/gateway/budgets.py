"""What a session may still spend: pure arithmetic over its limits, its turns and its open calls.

A claim reserves a turn and output tokens, its reply settles them. Turns never overshoot. Tokens
can: how long a prompt is, only its reply says, and a call is never refused for what others have
merely reserved; so each parallel branch may overshoot by one call.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rolldock.models.session import EndReason
from rolldock.models.spec import Limits
from rolldock.models.turn import Usage

LAUNCH_SLACK: Final = timedelta(seconds=60)
"""From the session's record to an agent that runs: its wall clock is counted by whoever watches it,
and here only in case that nobody does."""


@dataclass(slots=True)
class Spent:
    """What the recorded turns of a session used."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, usage: Usage) -> None:
        """Settle one turn."""
        self.turns += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens


class Ledger:
    """The budgets of one session."""

    def __init__(self, limits: Limits, opened_at: datetime) -> None:
        self._limits = limits
        self._ends_at = opened_at + timedelta(seconds=limits.agent_seconds) + LAUNCH_SLACK
        self._spent = Spent()
        self._reserved: dict[int, int] = {}

    def reserve(self, slot: int, output_tokens: int) -> None:
        """A claim was made, by whichever gateway."""
        self._reserved[slot] = output_tokens

    def settle(self, slot: int, usage: Usage | None) -> None:
        """A claim was answered; None: by an error, which spends nothing."""
        self._reserved.pop(slot, None)
        if usage is not None:
            self._spent.add(usage)

    def reached(self, now: datetime) -> EndReason | None:
        """The budget that forbids one more call; None: it may be made."""
        limits, spent = self._limits, self._spent
        if limits.max_turns is not None and spent.turns + len(self._reserved) >= limits.max_turns:
            return EndReason.MAX_TURNS
        tokens = (
            (limits.max_input_tokens, spent.input_tokens),
            (limits.max_output_tokens, spent.output_tokens),
            (limits.max_total_tokens, spent.input_tokens + spent.output_tokens),
        )
        if any(limit is not None and used >= limit for limit, used in tokens):
            return EndReason.TOKEN_BUDGET
        return EndReason.AGENT_TIMEOUT if now >= self._ends_at else None

    def output_left(self, slot: int) -> int | None:
        """The output tokens that a slot's call may have; None: no limit.

        What is neither spent nor reserved by others; where they have reserved nearly all, an even
        share of what is not spent: most calls use far less than they may.
        """
        limits, spent = self._limits, self._spent
        unspent = [
            limit - used
            for limit, used in (
                (limits.max_output_tokens, spent.output_tokens),
                (limits.max_total_tokens, spent.input_tokens + spent.output_tokens),
            )
            if limit is not None
        ]
        if not unspent:
            return None
        others = [tokens for number, tokens in self._reserved.items() if number != slot]
        left = min(unspent)
        return max(1, left - sum(others), left // (len(others) + 1))
