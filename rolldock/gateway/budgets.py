"""What a session may still spend: pure arithmetic over its limits and what its turns used.

Tokens are settled when a reply comes, so parallel calls may each overshoot by one call.
"""

from dataclasses import dataclass

from rolldock.models.session import EndReason
from rolldock.models.spec import Limits
from rolldock.models.turn import Usage


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


def reached(limits: Limits, spent: Spent, open_calls: int) -> EndReason | None:
    """The budget that forbids one more call; None: it may be made."""
    if limits.max_turns is not None and spent.turns + open_calls >= limits.max_turns:
        return EndReason.MAX_TURNS
    tokens = (
        (limits.max_input_tokens, spent.input_tokens),
        (limits.max_output_tokens, spent.output_tokens),
        (limits.max_total_tokens, spent.input_tokens + spent.output_tokens),
    )
    if any(limit is not None and used >= limit for limit, used in tokens):
        return EndReason.TOKEN_BUDGET
    return None


def output_left(limits: Limits, spent: Spent) -> int | None:
    """The output tokens that the next call may have; None: no limit."""
    left = [
        limit - used
        for limit, used in (
            (limits.max_output_tokens, spent.output_tokens),
            (limits.max_total_tokens, spent.input_tokens + spent.output_tokens),
        )
        if limit is not None
    ]
    return max(1, min(left)) if left else None
