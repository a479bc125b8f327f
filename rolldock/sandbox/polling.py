"""Looking for the end of something that nobody announces: soon at first, then more rarely.

What is looked at, and what an unseen end means, is the caller's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
_BACKOFF: Final = 1.5
_PATIENCE: Final = 0.1
"""Of the pause before it: how much longer a look may wait to share a request with others."""
_HASTY_SECONDS: Final = 0.5
"""Up to this pause a look waits for nobody: what is short shall not grow longer."""
_LAST_LOOK_SECONDS: Final = 5.0
"""What a look that is out when the deadline comes, or begins then, still has."""


async def poll(look: Callable[[float], Awaitable[T | None]], *, until: datetime) -> T | None:
    """What a look sees at last; None: it has seen nothing by the deadline.

    It looks at least once, also past the deadline: what ended before may be seen late. A look that
    hangs delays the end by five seconds and no more.

    Args:
        look: given the seconds that it may wait for company; None: nothing to see yet.

    Raises:
        StageError: what a look raises.
    """
    pause, patience = _FIRST_PAUSE_SECONDS, 0.0
    bound = asyncio.timeout(_left(until) + _LAST_LOOK_SECONDS)
    try:
        async with bound:
            while (seen := await look(patience)) is None:
                left = _left(until)
                if left <= 0:
                    return None
                await asyncio.sleep(min(pause, left))
                patience = _PATIENCE * pause if pause > _HASTY_SECONDS else 0.0
                pause = min(pause * _BACKOFF, _LONGEST_PAUSE_SECONDS)
            return seen
    except TimeoutError:
        if not bound.expired():
            raise
        return None


def _left(until: datetime) -> float:
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
