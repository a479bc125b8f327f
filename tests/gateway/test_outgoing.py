"""Bodies on their way to a model server: whole there, known by their digest, and not kept here."""

import asyncio
import gc
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import orjson
import pytest
from aiohttp import web

from rolldock.gateway.outgoing import passed_through, written_by_us
from rolldock.models.base import JsonObject

MEBIBYTE = 1024 * 1024
N_CALLS = 8


@dataclass
class Waiting:
    """A server that reads bodies and answers when it is told to."""

    url: str = ""
    received: list[bytes] = field(default_factory=list[bytes])
    headers: list[tuple[str | None, str]] = field(default_factory=list[tuple[str | None, str]])
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    all_there: asyncio.Event = field(default_factory=asyncio.Event)
    n_expected: int = 1
    keep: bool = True
    n_there: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Read, wait, answer."""
        self.headers.append((request.headers.get("Content-Length"), request.content_type))
        pieces = [piece async for piece in request.content.iter_any() if self.keep]
        self.received.append(b"".join(pieces))
        self.n_there += 1
        if self.n_there == self.n_expected:
            self.all_there.set()
        await self.answer.wait()
        return web.Response(text="ok")


@pytest.fixture
async def server() -> AsyncIterator[Waiting]:
    """One that listens on a port of the system's choice."""
    waiting = Waiting()
    app = web.Application(client_max_size=64 * MEBIBYTE)
    app.router.add_post("/", waiting.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    waiting.url = runner.addresses[0] and f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield waiting
    await runner.cleanup()


@pytest.mark.parametrize("n_chars", [0, 10, MEBIBYTE, 5 * MEBIBYTE + 3])
async def test_a_body_arrives_whole_with_its_length(server: Waiting, n_chars: int) -> None:
    value: JsonObject = {"said": "\u00e9" + "x" * n_chars, "at": [1.5, None]}
    content = orjson.dumps(value)
    server.answer.set()
    body = await written_by_us(value)
    async with aiohttp.ClientSession() as http, http.post(server.url, data=body) as reply:
        assert reply.status == 200
    assert server.received == [content]
    assert server.headers == [(str(len(content)), "application/json")]
    assert (body.n_bytes, body.digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert body.kept is None


async def test_what_is_passed_through_keeps_its_bytes(server: Waiting) -> None:
    content = b'{ "as": "it came" }\n'
    server.answer.set()
    body = await passed_through(content)
    async with aiohttp.ClientSession() as http, http.post(server.url, data=body) as reply:
        assert reply.status == 200
    assert server.received == [content]
    assert (body.kept, body.digest) == (content, hashlib.sha256(content).hexdigest())


async def test_calls_that_wait_hold_no_bytes(server: Waiting) -> None:
    server.keep, server.n_expected = False, N_CALLS
    value: JsonObject = {"said": "x" * MEBIBYTE}

    async def call(http: aiohttp.ClientSession) -> str:
        async with http.post(server.url, data=await written_by_us(value)) as reply:
            return await reply.text()

    tracemalloc.start()
    try:
        async with aiohttp.ClientSession() as http:
            calls = [asyncio.create_task(call(http)) for _ in range(N_CALLS)]
            async with asyncio.timeout(30):
                await server.all_there.wait()
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
            assert held < N_CALLS * MEBIBYTE / 2
            server.answer.set()
            assert await asyncio.gather(*calls) == ["ok"] * N_CALLS
    finally:
        tracemalloc.stop()
