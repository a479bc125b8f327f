"""Tasks that outlive the request that started them, owned by the process and awaited at its end."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Tasks:
    """The open tasks of one gateway process."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()

    def spawn(self, work: Coroutine[object, object, Result], name: str) -> "asyncio.Task[Result]":
        """Start a task; a failure that nobody awaits is logged."""
        task = asyncio.create_task(work, name=name)
        self._open.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Task[object]") -> None:
        self._open.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("%s: %s", task.get_name(), error)

    async def drain(self, seconds: float) -> None:
        """Wait for the open tasks, then cancel and await what is left."""
        if self._open:
            await asyncio.wait(self._open, timeout=seconds)
        left = list(self._open)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
