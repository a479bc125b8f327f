"""One cell of the gateway's benchmark: a server, a body size, streamed or not, so many connections.

How the numbers are shown is not decided here.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import aiohttp
import orjson
from gateway_bodies import TURNS_PER_SESSION
from gateway_load import Load, Measured, n_requests
from gateway_program import Program
from gateway_servers import Server

_LOAD: Final = Path(__file__).parent / "gateway_load.py"
_UPSTREAM: Final = Path(__file__).parent / "gateway_upstream.py"
_MOST_SESSIONS: Final = 4000


class Shape(NamedTuple):
    """What is sent, and how."""

    n_bytes: int
    streamed: bool
    n_connections: int

    def __str__(self) -> str:
        kind = "streamed" if self.streamed else "whole"
        return f"{self.n_bytes // 1024} KB, {kind}, {self.n_connections} connections"


class Cell(NamedTuple):
    """What was measured, the median over repetitions; times in seconds."""

    server: str
    shape: Shape
    n_requests: int
    """Of all repetitions."""
    requests_per_second: float
    p50: float
    p99: float
    first_token_p50: float
    cpu_seconds: float
    """Per request, of the server under test with its children."""
    rss_bytes: int
    """At the end."""


class Upstream:
    """The model server that does what it is told."""

    def __init__(self, core: int, directory: Path) -> None:
        log = directory / "upstream.log"
        self._program = Program((sys.executable, _UPSTREAM), core=core, log=log)
        self.port = 0

    async def start(self) -> None:
        """Wait until it listens."""
        self.port = await self._program.port()

    async def control(self, route: str) -> int:
        """Call one of its control routes. Returns how many calls it holds back."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.port}/{route}") as response,
        ):
            return int(await response.text())

    def end(self) -> None:
        """End it."""
        self._program.end()


class Loader:
    """Starts load generators on the core that they share with the upstream."""

    def __init__(self, core: int, directory: Path) -> None:
        self.core = core
        self._log = directory / "load.log"

    async def ready(self, load: Load) -> Program:
        """A load generator that has warmed up and waits for a line."""
        program = Program((sys.executable, _LOAD), core=self.core, log=self._log)
        if await program.ask(orjson.dumps(load).decode()) != "ready":
            program.end()
        return program

    async def measure(self, load: Load, server: Server) -> Cell:
        """One repetition.

        Raises:
            UnavailableError: the server under test answered with something else than the reply.
        """
        generator = await self.ready(load)
        try:
            before = 0.0 if server.program is None else server.program.cpu_seconds
            found = Measured(**orjson.loads(await generator.ask("go")))
        finally:
            generator.end()
        after = 0.0 if server.program is None else server.program.cpu_seconds
        return Cell(
            server=server.name,
            shape=Shape(load.n_bytes, load.streamed, load.n_connections),
            n_requests=len(found.latencies),
            requests_per_second=len(found.latencies) / found.seconds,
            p50=quantile(found.latencies, 0.5),
            p99=quantile(found.latencies, 0.99),
            first_token_p50=quantile(found.first_tokens, 0.5),
            cpu_seconds=(after - before) / n_requests(load),
            rss_bytes=0 if server.program is None else server.program.rss_bytes,
        )


async def measure_cell(
    loader: Loader, server: Server, shape: Shape, seconds: float, repetitions: int
) -> Cell:
    """Try out how fast it is, then measure for so long, so often.

    Where the trial took longer than that, it is the measurement.

    Raises:
        UnavailableError: the server under test answered with something else than the reply.
    """
    n_warm = shape.n_connections
    trial = await loader.measure(await _load(server, shape, n_warm, n_warm), server)
    if trial.n_requests / trial.requests_per_second > seconds:
        return trial
    n_sessions = round(trial.requests_per_second * seconds / TURNS_PER_SESSION)
    n_sessions = min(max(n_sessions, shape.n_connections), _MOST_SESSIONS)
    cells: list[Cell] = []
    for _ in range(repetitions):
        cells.append(await loader.measure(await _load(server, shape, n_warm, n_sessions), server))
    return _median(cells)


async def _load(server: Server, shape: Shape, n_warm: int, n_sessions: int) -> Load:
    return Load(
        port=server.port,
        keys=await server.sessions(n_warm + n_sessions),
        n_bytes=shape.n_bytes,
        streamed=shape.streamed,
        n_connections=shape.n_connections,
        warm_sessions=n_warm,
    )


def _median(cells: Sequence[Cell]) -> Cell:
    return Cell(
        server=cells[0].server,
        shape=cells[0].shape,
        n_requests=sum(cell.n_requests for cell in cells),
        requests_per_second=median(cell.requests_per_second for cell in cells),
        p50=median(cell.p50 for cell in cells),
        p99=median(cell.p99 for cell in cells),
        first_token_p50=median(cell.first_token_p50 for cell in cells),
        cpu_seconds=median(cell.cpu_seconds for cell in cells),
        rss_bytes=max(cell.rss_bytes for cell in cells),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of them lies; 0 where there is none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
