"""Waiting for the store while a turn that was paid for is in hand.

Before a model is called, a store that does not answer is the client's to retry; afterwards it is
ours for half a minute.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from rolldock.errors import UnavailableError

_log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.5
_TRIES: Final = 60

Result = TypeVar("Result")


async def patiently(work: Callable[[], Awaitable[Result]]) -> Result:
    """Do `work`, again and again while the store does not answer.

    Raises:
        UnavailableError: the last try's.
    """
    for _ in range(_TRIES):
        try:
            return await work()
        except UnavailableError as error:
            _log.warning("a turn waits for the store: %s", error)
            await asyncio.sleep(_PAUSE_SECONDS)
    return await work()
