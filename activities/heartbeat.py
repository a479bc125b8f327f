"""A heartbeat beside the work: keeps a try alive and lets its cancellation through."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from pydantic import JsonValue
from temporalio import activity

_BEATS_PER_TIMEOUT: Final = 3
_LONGEST_SECONDS: Final = 5.0
"""A cancel arrives with a beat, so the beat's period is the delay of a cancel."""


class Pulse:
    """What a try's heartbeats carry to the try after it."""

    def __init__(self) -> None:
        earlier = activity.info().heartbeat_details
        self.kept: JsonValue = earlier[0] if earlier else None
        """What this try, or one before it, has kept."""

    def keep(self, word: JsonValue) -> None:
        """Let a later try know this, should this one be cut short, and the UI's reader too."""
        self.kept = word
        self.beat()

    def beat(self) -> None:
        """One heartbeat; each replaces what the one before it carried."""
        activity.heartbeat(*([] if self.kept is None else [self.kept]))


@asynccontextmanager
async def heartbeating() -> AsyncGenerator[Pulse, None]:
    """Beat while the block runs, a few times per heartbeat timeout."""
    timeout = activity.info().heartbeat_timeout
    seconds = timeout.total_seconds() / _BEATS_PER_TIMEOUT if timeout else _LONGEST_SECONDS
    pulse = Pulse()
    beating = asyncio.create_task(_beat(pulse, min(seconds, _LONGEST_SECONDS)))
    try:
        yield pulse
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _beat(pulse: Pulse, seconds: float) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(seconds)
