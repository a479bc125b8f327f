"""A stand-in for model servers that speak Anthropic Messages and OpenAI Responses themselves.

It runs no model: it plays plans (`native_bodies.py`) in the bytes that such servers write, and
keeps what it got and what it sent.
"""

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from typing import cast

import orjson
from aiohttp import web

from rolldock.models.base import JsonObject
from tests.gateway.native_bodies import (
    NativePlan,
    message,
    message_events,
    output_text,
    response,
    response_events,
)

KEY = "sk-of-the-server"


@dataclass(frozen=True)
class Got:
    """A call as it arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: JsonObject


class NativeServer:
    """Plays its plans in order; without one it says a fixed thing."""

    def __init__(self) -> None:
        self.calls: list[Got] = []
        self.plans: deque[NativePlan] = deque()
        self.sent: list[bytes] = []
        """The body of each answer, as far as it was sent."""
        self.url = ""
        self._arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve on a port of the system's choice."""
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        """Close, open calls included."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def arrived(self, count: int) -> None:
        """Wait until so many calls have come."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        got = await self._take(request)
        if not {"anthropic-version", "x-api-key"} <= got.headers.keys():
            error: JsonObject = {"type": "authentication_error", "message": "x-api-key is missing"}
            return web.json_response({"type": "error", "error": error}, status=401)
        plan = self.plans.popleft() if self.plans else NativePlan()
        number = len(self.calls)
        whole = message(plan, number, got.body)
        return await self._answer(request, got, plan, whole, list(message_events(plan, whole)))

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        got = await self._take(request)
        if got.headers.get("authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        content = [output_text("Hello there.")]
        plan = self.plans.popleft() if self.plans else NativePlan(content=content)
        number = len(self.calls)
        whole = response(plan, number, got.body)
        return await self._answer(request, got, plan, whole, list(response_events(plan, whole)))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        await self._take(request)
        says: JsonObject = {"role": "assistant", "content": "ok"}
        choice: JsonObject = {"index": 0, "message": says, "finish_reason": "stop"}
        return web.json_response({"object": "chat.completion", "choices": [choice]})

    async def _take(self, request: web.Request) -> Got:
        raw = await request.read()
        headers = {key.lower(): value for key, value in request.headers.items()}
        got = Got(request.path, headers, raw, cast(JsonObject, json.loads(raw)))
        async with self._arrived:
            self.calls.append(got)
            self._arrived.notify_all()
        return got

    async def _answer(
        self,
        request: web.Request,
        got: Got,
        plan: NativePlan,
        whole: JsonObject,
        events: list[JsonObject],
    ) -> web.StreamResponse:
        if plan.error is not None:
            headers = {"Retry-After": plan.retry_after} if plan.retry_after else {}
            return web.json_response(plan.error, status=plan.status, headers=headers)
        if got.body.get("stream"):
            return await self._stream(request, plan, events)
        if plan.gate is not None:
            await plan.gate.wait()
        if plan.cut:
            _break(request)
            return web.Response()
        written = plan.write(whole)
        self.sent.append(written)
        return web.Response(body=written, content_type="application/json")

    async def _stream(
        self, request: web.Request, plan: NativePlan, events: list[JsonObject]
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await answer.prepare(request)
        self.sent.append(b"")
        middle = next((n + 1 for n, event in enumerate(events) if "delta" in event), -1)
        for number, event in enumerate(events):
            if number == middle:
                if plan.gate is not None:
                    await plan.gate.wait()
                if plan.cut:
                    _break(request)
                    return answer
                if plan.ends_early:
                    break
            written = _written(event, plan.line)
            await answer.write(written)
            self.sent[-1] += written
        await answer.write_eof()
        return answer


def _written(event: JsonObject, line: bytes) -> bytes:
    """An event as Anthropic pads it."""
    data = orjson.dumps(event)[:-1] + b"     }"
    return b"event: " + str(event["type"]).encode() + line + b"data: " + data + line + line


def _break(request: web.Request) -> None:
    transport = request.transport
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
