"""The gateway's benchmark beside throughput: first tokens, open calls, a long session.

The servers come from `gateway_servers.py`, the load from `gateway_cells.py`.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final, NamedTuple

from gateway_bodies import session_bodies
from gateway_cells import Cell, Loader, Shape, Upstream, measure_cell
from gateway_load import Load
from gateway_program import Program
from gateway_servers import Gateway, PassThrough, Server, Straight
from gateway_session import N_COMPLETION_TOKENS, SessionSize, converse, seal_and_measure

from rolldock.models.spec import Delivery

HERE: Final = Path(__file__).parent
_PACE_MILLISECONDS: Final = 2
"""Between two pieces of a stream."""
_ALL_OPEN_SECONDS: Final = 120


class OpenCalls(NamedTuple):
    """The gateway's memory around many calls that are open at once."""

    n_bytes: int
    """Of a request's body, the first of its session."""
    n_calls: int
    before_bytes: int
    open_bytes: int
    """The most that was seen while all were open."""
    after_bytes: int


async def first_tokens(
    loader: Loader, upstream: Upstream, core: int, directory: Path, seconds: float
) -> list[Cell]:
    """How long the first token of a paced stream takes: straight, through (b), through ours.

    Raises:
        UnavailableError: a server does not start, or does not give the reply.
    """
    await upstream.control(f"pace/{_PACE_MILLISECONDS}")
    port = upstream.port
    servers: list[Server] = [
        Straight(port, core, directory),
        PassThrough(port, core, directory),
        Gateway(port, core, directory / "live", Delivery.LIVE),
    ]
    cells: list[Cell] = []
    try:
        for server in servers:
            try:
                await server.start()
                cells.append(await measure_cell(loader, server, Shape(2048, True, 1), seconds, 1))
            finally:
                server.end()
    finally:
        await upstream.control("pace/0")
    return cells


async def open_calls(
    loader: Loader, upstream: Upstream, core: int, directory: Path, n_calls: int, n_bytes: int
) -> OpenCalls:
    """Hold so many calls back at the model server, each of a session of its own.

    Raises:
        UnavailableError: they were not all open in time.
    """
    await upstream.control("hold")
    server = Gateway(upstream.port, core, directory)
    try:
        await server.start()
        assert server.program is not None
        keys = await server.sessions(n_calls)
        before = server.program.rss_bytes
        load = Load(
            port=server.port,
            keys=keys,
            n_bytes=n_bytes,
            streamed=True,
            n_connections=n_calls,
            warm_sessions=0,
            n_turns=1,
        )
        generator = await loader.ready(load)
        try:
            generator.tell("go")
            most = await _all_open(upstream, server.program, n_calls)
            await upstream.control("release")
            await generator.line()
        finally:
            generator.end()
        first_bytes = len(session_bodies(n_bytes, streamed=True).bodies[0])
        return OpenCalls(first_bytes, n_calls, before, most, server.program.rss_bytes)
    finally:
        await upstream.control("release")
        server.end()


async def _all_open(upstream: Upstream, gateway: Program, n_calls: int) -> int:
    """Wait until all calls are at the model server. Returns the most memory seen."""
    most = 0
    async with asyncio.timeout(_ALL_OPEN_SECONDS):
        while await upstream.control("waiting") < n_calls:
            most = max(most, gateway.rss_bytes)
            await asyncio.sleep(0.05)
    return max(most, gateway.rss_bytes)


async def long_session(core: int, directory: Path) -> SessionSize:
    """A session of 100 turns with token ids, through the gateway and sealed.

    Raises:
        UnavailableError: a server does not start.
    """
    script, n_tokens = HERE / "gateway_engine.py", str(N_COMPLETION_TOKENS)
    engine = Program((sys.executable, script, n_tokens), core=core, log=directory / "engine.log")
    try:
        server = Gateway(await engine.port(), core, directory, token_ids=True)
        try:
            await server.start()
            attempt = await server.open()
            await converse(f"http://127.0.0.1:{server.port}", server.key(attempt))
            return await seal_and_measure(server.store, attempt)
        finally:
            server.end()
    finally:
        engine.end()
