"""The real command over a stand-in for Prime's tunnel service, and a server behind it."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.tunnel.keepers import Keepers, keepers_of
from tests.tunnel.service import TunnelService, tunnel_service


@pytest_asyncio.fixture
async def service() -> AsyncGenerator[TunnelService]:
    """Prime's tunnel service."""
    async with tunnel_service() as running:
        yield running


@pytest.fixture
def keepers(service: TunnelService, tmp_path: Path) -> Iterator[Keepers]:
    """Keepers in a home of their own; they and their frpc are gone afterwards."""
    with keepers_of(service, tmp_path, tmp_path / "home" / "store") as running:
        yield running


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[int]:
    """The port of a server that answers with what it was sent."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"got " + await request.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def ask(url: str | None, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of a POST through the tunnel."""
    assert url is not None
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v1/chat/completions", data=body) as response,
    ):
        return response.status, await response.read()
