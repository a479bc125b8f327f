"""Many rollouts, so many at once. Starts none itself, and cancels none."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any

from rolldock.errors import UsageError
from rolldock.models.result import RolloutResult
from rolldock.models.spec import RolloutSpec

RunOne = Callable[[RolloutSpec], Coroutine[Any, Any, RolloutResult]]
"""Starts a rollout, or finds it, and waits for its result."""


async def run_many(
    run_one: RunOne, specs: Iterable[RolloutSpec], max_in_flight: int
) -> AsyncGenerator[RolloutResult, None]:
    """Results as they come; leaving early gives up waiting and nothing else.

    Raises:
        UsageError: fewer than one at once, or what `run_one` refuses.
    """
    if max_in_flight < 1:
        raise UsageError(f"max_in_flight = {max_in_flight}: at least 1 has to run at once")
    waiting: set[asyncio.Task[RolloutResult]] = set()
    remaining = iter(specs)
    try:
        while True:
            while len(waiting) < max_in_flight and (spec := next(remaining, None)) is not None:
                waiting.add(asyncio.create_task(run_one(spec)))
            if not waiting:
                return
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                yield finished.result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
