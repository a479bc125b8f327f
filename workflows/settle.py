"""Waiting to the end whatever is cancelled, and looking for the cancel that this swallows."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from temporalio import workflow

T = TypeVar("T")


async def settle(work: Awaitable[T]) -> T:
    """The outcome of an activity, waited for even while the workflow is being cancelled.

    A single shield is not enough: the cancel would leave it, the workflow would close, and an
    activity that then fails is never retried.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
        except BaseException:
            break
    return task.result()


def abandon(work: workflow.ActivityHandle[T]) -> None:
    """Cancel an activity whose outcome nobody will look at."""
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    work.cancel()


def is_cancelled() -> bool:
    """Whether a cancel was requested; an empty reason is one too."""
    return workflow.cancellation_reason() is not None


def cancel_check() -> None:
    """Raise the cancel that an activity which completed at the same moment has swallowed."""
    if is_cancelled():
        raise asyncio.CancelledError("cancel requested")
