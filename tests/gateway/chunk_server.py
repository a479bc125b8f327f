"""A model server whose streams are written out chunk by chunk. It runs no model."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

import orjson
from aiohttp import web
from pydantic import JsonValue

from rolldock.gateway.sse import DONE, event
from rolldock.models.base import JsonObject
from tests.gateway.conftest import World
from tests.gateway.model_server import ModelServer, Plan

Step: TypeAlias = JsonObject | asyncio.Event | bytes
"""A chunk, what is waited for before the next, or an event's data as it is."""

CREATED = 1_700_000_000


class ChunkServer(ModelServer):
    """Plays its streams in order."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: deque[list[Step]] = deque()

    async def _stream(self, request: web.Request, plan: Plan) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for step in self.streams.popleft():
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                data = step if isinstance(step, bytes) else orjson.dumps(step)
                await response.write(event(data))
        await response.write_eof()
        return response


@asynccontextmanager
async def chunk_server(world: World) -> AsyncGenerator[ChunkServer]:
    """Such a server behind this test's endpoint."""
    server = ChunkServer()
    await server.start()
    await world.add_endpoint(version=2, replicas=(server.url,))
    try:
        yield server
    finally:
        await server.stop()


def chunk(delta: JsonObject, **choice: JsonValue) -> JsonObject:
    """A chunk that adds to the message."""
    whole: JsonObject = {"index": 0, "delta": delta, "finish_reason": None, **choice}
    return {
        "id": "chatcmpl-constant",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": "served-model",
        "choices": [whole],
    }


def says(text: str) -> JsonObject:
    """Text."""
    return chunk({"content": text})


def thinks(text: str, key: str = "reasoning_content") -> JsonObject:
    """Reasoning."""
    return chunk({key: text})


def calls(index: int, arguments: str, **begun: JsonValue) -> JsonObject:
    """A piece of a tool call; with `id` and `name` its first."""
    function: JsonObject = {"arguments": arguments}
    if "name" in begun:
        function["name"] = begun.pop("name")
    piece: JsonObject = {"index": index, "function": function, **begun}
    return chunk({"tool_calls": [piece]})


def begins_call(index: int, arguments: str = "", name: str = "shell") -> JsonObject:
    """The first piece of a tool call, with an id that this server gives in every reply."""
    return calls(index, arguments, id=f"call_{index}", type="function", name=name)


def ends(reason: str = "stop", **choice: JsonValue) -> list[Step]:
    """The last chunks of a stream."""
    usage: JsonObject = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    last: JsonObject = {**chunk({}), "choices": [], "usage": usage}
    return [chunk({}, finish_reason=reason, **choice), last, DONE]


REPLIES: dict[str, list[Step]] = {
    "text": [chunk({"role": "assistant", "content": ""}), says("Hello"), says(" there."), *ends()],
    "everything": [
        chunk({"role": "assistant", "content": ""}),
        thinks("Let me"),
        thinks(" see."),
        says("\n\n"),
        says("Now:"),
        begins_call(0),
        calls(0, '{"comm'),
        calls(0, 'and": "l'),
        calls(0, 's"}'),
        says("\n"),
        begins_call(1, '{"command":"p'),
        calls(1, 'wd"}'),
        *ends("tool_calls"),
    ],
    "calls alone": [
        begins_call(0, "{}"),
        begins_call(1),
        calls(2, "", name="shell"),
        calls(2, '{"command": "ls", "more": [1, {"a": "\\u00e9'),
        calls(2, '\\ud83d\\ude00"}]}'),
        *ends("stop"),
    ],
    "white space": [says("\n"), thinks("Hm."), says("\n"), begins_call(0, "{}"), *ends()],
    "nothing": [chunk({"role": "assistant", "content": ""}), *ends()],
    "a refusal": [chunk({"refusal": "I will"}), chunk({"refusal": " not."}), *ends()],
    "cut text": [thinks("Hm.", "reasoning"), says("Once upon"), *ends("length")],
    "cut reasoning": [thinks("Once upon"), *ends("length")],
    "arguments that are no JSON": [begins_call(0, '["ls"'), calls(0, ","), *ends("length")],
    "in one chunk": [chunk({"content": "Hi."}, finish_reason="stop"), *ends()[1:]],
}
"""Streams that agents must see as they see the reply when it is rendered whole."""

FAILURES: dict[str, tuple[list[Step], str]] = {
    "an error": ([says("Hello"), {"error": {"message": "CUDA is sad"}}], "CUDA is sad"),
    "no JSON": ([says("Hello"), b"{nope"], "not JSON"),
    "no end": ([says("Hello")], "before the model had finished"),
    "a call goes on late": (
        [begins_call(0, "{"), begins_call(1, "{}"), calls(0, "}"), *ends()],
        "goes back",
    ),
    "a call without a name": ([says("Hello"), calls(0, "{}"), *ends()], "no name"),
}
"""Streams that fail when the agent has seen some of them, and what it is told."""
