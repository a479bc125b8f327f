"""What a try does when its worker shuts down: it leaves at once what another worker can go on with.

Everything else has the worker's grace to end by itself.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

T = TypeVar("T")

_AGAIN_AFTER: Final = timedelta(seconds=1)


async def unless_leaving(watching: Coroutine[Any, Any, T]) -> T:
    """The outcome of something that only looks, unless this worker shuts down before.

    Raises:
        ApplicationError: it does; retried at another worker, and no fault of the stage.
    """
    work = asyncio.create_task(watching)
    leaving = asyncio.create_task(activity.wait_for_worker_shutdown())
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ApplicationError(
                "this worker is shutting down",
                type="worker_shutdown",
                next_retry_delay=_AGAIN_AFTER,
            )
        return work.result()
    finally:
        work.cancel()
        leaving.cancel()
        await asyncio.gather(work, leaving, return_exceptions=True)
