"""A heartbeat beside the work: keeps a try alive and lets its cancellation through."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from temporalio import activity

_BEATS_PER_TIMEOUT: Final = 3
_LONGEST_SECONDS: Final = 5.0
"""A cancel arrives with a beat, so the beat's period is the delay of a cancel."""


@asynccontextmanager
async def heartbeating() -> AsyncGenerator[None, None]:
    """Beat while the block runs, a few times per heartbeat timeout."""
    timeout = activity.info().heartbeat_timeout
    seconds = timeout.total_seconds() / _BEATS_PER_TIMEOUT if timeout else _LONGEST_SECONDS
    beating = asyncio.create_task(_beat(min(seconds, _LONGEST_SECONDS)))
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _beat(seconds: float) -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(seconds)
