"""Where the rollouts of a `run` are: a live table on a terminal, else a line per change.

Asks Temporal about as many rollouts as the table shows, never about all; writes to stderr alone.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text
from temporalio.service import RPCError

from rolldock.cli.console import cells, console, number, seconds, table
from rolldock.cli.results import ending
from rolldock.errors import UnavailableError, UsageError
from rolldock.models.result import RolloutResult
from rolldock.trainer.client import Client

_POLL_SECONDS: Final = 1.0
_ROWS: Final = 24
"""Of the live table, which must fit a terminal, and so many questions a second."""
_WAITING: Final = "waiting"


class Progress:
    """The progress of some rollouts, shown while the block runs."""

    def __init__(self, client: Client, ids: list[str]) -> None:
        self._client = client
        self._stages = dict.fromkeys(ids, _WAITING)
        self._since = dict.fromkeys(ids, time.monotonic())
        self._n_rollouts = len(ids)
        self._n_done = 0
        self._console = console(stderr=True)
        self._live: Live | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            if self._console.is_terminal:
                self._live = exits.enter_context(
                    Live(self._table(), console=self._console, transient=True)
                )
            polling = asyncio.create_task(self._poll(), name="progress")
            exits.push_async_callback(_end, polling)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

    def finished(self, result: RolloutResult) -> None:
        """Show one that has ended."""
        self._n_done += 1
        self._stages.pop(result.rollout, None)
        self._redraw()
        took = seconds(result.timings.get("total"))
        self._line(
            f"[{self._n_done}/{self._n_rollouts}] {result.rollout}  "
            f"reward {number(result.reward)}  {ending(result)}  {took} s"
        )

    async def _poll(self) -> None:
        while True:
            # The first that have not ended: `run` starts them in this order.
            for rollout in list(self._stages)[:_ROWS]:
                self._moved(rollout, await self._stage_of(rollout))
            self._redraw()
            await asyncio.sleep(_POLL_SECONDS)

    async def _stage_of(self, rollout: str) -> str:
        try:
            status = await self._client.handle(rollout).status()
        except (UsageError, UnavailableError, RPCError):
            # Not started yet, or Temporal is away for a moment: the results say so if it lasts.
            return self._stages.get(rollout, _WAITING)
        return status.stage if status.tries == 1 else f"{status.stage} (try {status.tries})"

    def _moved(self, rollout: str, stage: str) -> None:
        if self._stages.get(rollout, stage) == stage:
            return
        self._stages[rollout] = stage
        self._since[rollout] = time.monotonic()
        if self._live is None:
            self._line(f"{rollout}  {stage}")

    def _redraw(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _line(self, line: str) -> None:
        self._console.print(cells(line)[0], soft_wrap=True)

    def _table(self) -> Table:
        made = table(("rollout", "stage", "seconds"), numbers=("seconds",))
        made.caption = Text(f"{self._n_done} of {self._n_rollouts} done")
        now = time.monotonic()
        # Those that have moved come first: the others only wait.
        rows = sorted(self._stages.items(), key=lambda row: row[1] == _WAITING)
        for rollout, stage in rows[:_ROWS]:
            made.add_row(*cells(rollout, stage, f"{now - self._since[rollout]:.0f}"))
        if len(rows) > _ROWS:
            made.add_row(*cells(f"and {len(rows) - _ROWS} more", "", ""))
        return made


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
