"""A small model server that speaks chat completions and misbehaves on request.

It runs no model. `python tests/gateway/model_server.py PORT` serves plain replies.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import orjson
from aiohttp import web
from pydantic import JsonValue

from rolldock.models.base import JsonObject

Write = Callable[[JsonObject], bytes]


@dataclass
class Plan:
    """How one call is answered."""

    content: str | None = "Hello there."
    tool_calls: list[JsonObject] | None = None
    status: int = 200
    error: JsonObject | None = None
    retry_after: str | None = None
    gate: asyncio.Event | None = None
    """Waited for before the reply, or after the first piece of a stream."""
    cut: bool = False
    """The connection breaks before the reply, or after the first piece of a stream."""
    ends_early: bool = False
    """A stream that closes cleanly before its finish reason."""
    write: Write = orjson.dumps
    extra: JsonObject = field(default_factory=dict[str, JsonValue])
    """Added to the reply, and below to its choice."""
    choice: JsonObject = field(default_factory=dict[str, JsonValue])
    input_tokens: int = 10
    output_tokens: int = 5


class ModelServer:
    """Counts its calls and plays its plans in order; without one it says a fixed thing."""

    def __init__(self) -> None:
        self.calls: list[JsonObject] = []
        self.raw: list[bytes] = []
        self.replies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.plans: deque[Plan] = deque()
        self._arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Serve on a port of the system's choice."""
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{bound}/v1"

    async def stop(self) -> None:
        """Close, open calls included."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def arrived(self, count: int) -> None:
        """Wait until so many calls have come."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = cast(JsonObject, orjson.loads(raw))
        plan = self.plans.popleft() if self.plans else Plan()
        async with self._arrived:
            self.calls.append(body)
            self.raw.append(raw)
            self.headers.append(dict(request.headers))
            self._arrived.notify_all()
        if plan.status != 200:
            headers = {"Retry-After": plan.retry_after} if plan.retry_after else {}
            return web.json_response(plan.error, status=plan.status, headers=headers)
        if body.get("stream"):
            return await self._stream(request, plan)
        if plan.gate is not None:
            await plan.gate.wait()
        if plan.cut:
            _break(request)
            return web.Response()
        written = plan.write(_whole(plan, len(self.calls)))
        self.replies.append(written)
        return web.Response(body=written, content_type="application/json")

    async def _stream(self, request: web.Request, plan: Plan) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        pieces = _pieces(plan)
        for number, piece in enumerate(pieces):
            await response.write(b"data: " + piece + b"\n\n")
            if number == 1:
                if plan.gate is not None:
                    await plan.gate.wait()
                if plan.cut:
                    _break(request)
                    return response
                if plan.ends_early:
                    break
        await response.write_eof()
        return response


def _break(request: web.Request) -> None:
    transport = request.transport
    assert isinstance(transport, asyncio.Transport)
    transport.abort()


def _message(plan: Plan) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": plan.content}
    if plan.tool_calls is not None:
        message["tool_calls"] = [*plan.tool_calls]
    return message


def _usage(plan: Plan) -> JsonObject:
    total = plan.input_tokens + plan.output_tokens
    return {
        "prompt_tokens": plan.input_tokens,
        "completion_tokens": plan.output_tokens,
        "total_tokens": total,
    }


def _whole(plan: Plan, number: int) -> JsonObject:
    finish = "tool_calls" if plan.tool_calls else "stop"
    choice: JsonObject = {"index": 0, "message": _message(plan), "finish_reason": finish}
    return {
        "id": "chatcmpl-constant",
        "object": "chat.completion",
        "created": 1_700_000_000 + number,
        "model": "served-model",
        "choices": [{**choice, **plan.choice}],
        "usage": _usage(plan),
        **plan.extra,
    }


def _pieces(plan: Plan) -> list[bytes]:
    words = [f"{word} " for word in (plan.content or "").split(" ")]
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    for word in words:
        deltas.append({"content": word})
    for number, call in enumerate(plan.tool_calls or []):
        deltas.append({"tool_calls": [{**call, "index": number}]})
    base: JsonObject = {
        "id": "chatcmpl-constant",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "served-model",
    }
    choices: list[JsonObject] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks: list[JsonObject] = [{**base, "choices": [choice]} for choice in choices]
    chunks.append({**base, "choices": [], "usage": _usage(plan)})
    return [*(orjson.dumps(chunk) for chunk in chunks), b"[DONE]"]


async def _main(port: int) -> None:
    server = ModelServer()
    await server.start(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
