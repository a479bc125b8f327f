"""Waiting in tests: for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(
    condition: Callable[[], Awaitable[bool] | bool],
    what: str = "what was waited for",
    seconds: float = 20,
) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it never did; the text says `what`.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                holds = condition()
                if holds if isinstance(holds, bool) else await holds:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"after {seconds:g} s still not: {what}") from None
