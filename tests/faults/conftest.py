"""A small server that injects faults, with a client of it and one of its faults."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import cast

import httpx
import pytest
from aiohttp import web

from rolldock.faults.admin import install
from rolldock.faults.client import FaultClient

PIECE = b"0123456789"


@dataclass
class Small:
    """A server whose requests leave a mark; what happened to its answers is kept too."""

    url: str = ""
    marks: list[str] = field(default_factory=list[str])
    unheard: list[str] = field(default_factory=list[str])
    is_unheard: asyncio.Event = field(default_factory=asyncio.Event)

    async def whole(self, request: web.Request) -> web.Response:
        """Take effect, then answer with the body that came."""
        body = await request.read()
        self.marks.append(request.match_info["name"])
        return web.Response(body=body or PIECE)

    async def streamed(self, request: web.Request) -> web.StreamResponse:
        """Send the headers, take effect, send ten pieces."""
        name = request.match_info["name"]
        response = web.StreamResponse()
        await response.prepare(request)
        self.marks.append(name)
        try:
            for _ in range(10):
                await response.write(PIECE)
                await asyncio.sleep(0)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.unheard.append(name)
            self.is_unheard.set()
            raise
        return response

    async def empty(self, _: web.Request) -> web.Response:
        """An answer without a body."""
        self.marks.append("empty")
        return web.Response(status=204)


@pytest.fixture
async def small() -> AsyncGenerator[Small, None]:
    """The server, on a port of the system's choice."""
    made = Small()
    app = web.Application()
    install(app)
    app.router.add_post("/whole/{name}", made.whole)
    app.router.add_post("/streamed/{name}", made.streamed)
    app.router.add_delete("/empty", made.empty)
    # As sandboxd does: a request whose client has gone is cancelled.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = cast(tuple[str, int], runner.addresses[0])
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def http(small: Small) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A plain client of the small server."""
    async with httpx.AsyncClient(base_url=small.url, timeout=20) as client:
        yield client


@pytest.fixture
async def faults(small: Small) -> AsyncGenerator[FaultClient, None]:
    """A client of the small server's faults."""
    async with FaultClient(small.url) as client:
        yield client
