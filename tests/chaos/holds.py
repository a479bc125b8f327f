"""Where workers ask, over a unix socket, whether an activity may go on: the harness's end.

A worker reports each activity before its first line and after its last one, and goes on when it is
answered. The harness answers at once, but for the places where it holds a rollout. Strikes nobody.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from rolldock.models.base import Contract
from rolldock.models.result import Stage
from tests.chaos.cases import Moment

SOCKET_VARIABLE: Final = "ROLLDOCK_CHAOS_SOCKET"
GO: Final = b"go\n"


class Report(Contract):
    """One line from a worker: where one of its activities is."""

    rollout: str
    attempt: str
    stage: Stage
    moment: Moment
    pid: int
    """The worker's process."""
    tries: int
    """Temporal's number of this try, from 1."""
    failed: bool = False
    """After: it raised instead of returning; such a try is not held."""


class Hold:
    """A place where one rollout waits, the first time that it gets there."""

    def __init__(self) -> None:
        self._reached: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._let_go = asyncio.Event()

    @property
    def is_reached(self) -> bool:
        """Whether the rollout has got here."""
        return self._reached.done()

    async def reached(self) -> Report:
        """Wait until the rollout is there."""
        return await asyncio.shield(self._reached)

    def let_go(self) -> None:
        """Let it go on; a worker that is stopped or gone does not hear it."""
        self._let_go.set()

    async def wait(self, report: Report) -> None:
        """Stay here; for the worker that got here."""
        self._reached.set_result(report)
        await self._let_go.wait()


class Holds:
    """The places where rollouts are held, and all that workers have reported."""

    def __init__(self) -> None:
        self._holds: dict[tuple[str, Stage, Moment], Hold] = {}
        self._changed = asyncio.Condition()
        self.reports: list[Report] = []

    @classmethod
    @asynccontextmanager
    async def listening(cls, socket: Path) -> AsyncGenerator[Self]:
        """Answer workers at a socket, a path that is free yet, while the block runs."""
        holds = cls()
        server = await asyncio.start_unix_server(holds._answer, socket)
        try:
            yield holds
        finally:
            for hold in holds._holds.values():
                hold.let_go()
            server.close()

    def add(self, rollout: str, stage: Stage, moment: Moment) -> Hold:
        """Hold a rollout at a place: before or after the stage's work."""
        hold = self._holds[rollout, stage, moment] = Hold()
        return hold

    def forget(self, rollout: str) -> None:
        """Let a rollout go, wherever it is held, and forget what was reported of it."""
        for place in [place for place in self._holds if place[0] == rollout]:
            self._holds.pop(place).let_go()
        self.reports = [report for report in self.reports if report.rollout != rollout]

    def of(self, rollout: str) -> list[Report]:
        """What was reported of a rollout, in order."""
        return [report for report in self.reports if report.rollout == rollout]

    async def reported(self, rollout: str, stage: Stage, moment: Moment) -> Report:
        """Wait for a report, or find it."""
        async with self._changed:
            while True:
                for report in self.of(rollout):
                    if (report.stage, report.moment) == (stage, moment):
                        return report
                await self._changed.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                report = Report.model_validate_json(line)
                await self._pass(report)
                writer.write(GO)
                await writer.drain()
        except ConnectionError:
            return  # the worker was killed meanwhile, as it should
        finally:
            writer.close()

    async def _pass(self, report: Report) -> None:
        async with self._changed:
            self.reports.append(report)
            self._changed.notify_all()
        hold = self._holds.get((report.rollout, report.stage, report.moment))
        if hold is not None and not hold.is_reached and not report.failed:
            await hold.wait(report)
