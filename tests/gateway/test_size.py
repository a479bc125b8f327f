"""How much a long session takes in the store."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from benchmarks.gateway_engine import Engine
from benchmarks.gateway_session import (
    N_COMPLETION_TOKENS,
    N_TOKENS,
    N_TURNS,
    converse,
    seal_and_measure,
)
from rolldock.models.spec import Sampling
from tests.gateway.conftest import World

MOST_BYTES = 5_000_000
"""The design's promise for a trace of this size."""


class EngineServer:
    """The engine, served."""

    def __init__(self) -> None:
        self.engine = Engine(N_COMPLETION_TOKENS)
        self._runner = web.AppRunner(self.engine.application(), access_log=None)

    async def start(self) -> str:
        """Serve on a port of the system's choice. Returns the base URL."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        """Close."""
        await self._runner.cleanup()


@pytest.fixture
async def engine(own_world: World) -> AsyncIterator[Engine]:
    """An engine with token ids, behind the endpoint of the test's world."""
    server = EngineServer()
    await own_world.add_endpoint(replicas=(await server.start(),), token_ids=True)
    yield server.engine
    await server.stop()


async def test_a_long_session_is_small(own_world: World, engine: Engine) -> None:
    """100 turns with 64,000 tokens take at most 5 MB, and every reply comes back to the byte."""
    attempt = await own_world.open(sampling=Sampling(temperature=1))
    await converse(own_world.gateway.url, own_world.token(attempt))
    assert engine.n_tokens == pytest.approx(N_TOKENS, rel=0.02)
    size = await seal_and_measure(own_world.store, attempt)
    assert size.n_sealed_bytes <= MOST_BYTES
    summary = size.summary
    assert (summary.n_turns, summary.n_samples, summary.untrainable) == (N_TURNS, 1, None)
    rebuilder = await own_world.rebuilder(attempt)
    for slot in (0, 1, N_TURNS // 2, N_TURNS - 1):
        assert await rebuilder.reply(slot) == engine.replies[slot]
