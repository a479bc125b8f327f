"""Anthropic Messages passed through to a server that speaks them, with the official client."""

import asyncio
from typing import cast

import anthropic
import orjson
import pytest

from rolldock.models.base import JsonObject
from rolldock.models.spec import Delivery, Limits, Sampling
from rolldock.store import endpoints
from tests.eventually import eventually
from tests.gateway.conftest import World
from tests.gateway.native_bodies import NativePlan, text_block
from tests.gateway.native_client import ask, claude, evaluated, post, said, shown
from tests.gateway.native_server import KEY, NativeServer

THINKING: JsonObject = {"type": "thinking", "thinking": "Look first.", "signature": "EqQBCkYIA=="}
SEARCH: JsonObject = {
    "type": "server_tool_use",
    "id": "srvtoolu_01",
    "name": "web_search",
    "input": {"query": "weather in Oslo"},
}
FOUND: JsonObject = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_01",
    "content": [
        {
            "type": "web_search_result",
            "title": "Oslo",
            "url": "https://example.test/oslo",
            "encrypted_content": "Eo8x==",
            "page_age": None,
        }
    ],
}
USE: JsonObject = {
    "type": "tool_use",
    "id": "toolu_01A",
    "name": "shell",
    "input": {"command": "ls -la /app"},
}
TOOLS: list[JsonObject] = [
    {"name": "shell", "description": "Run a command.", "input_schema": {"type": "object"}},
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
]
DOCUMENT: JsonObject = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"},
}


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply(
    world: World, native: NativeServer, stream: bool, delivery: Delivery
) -> None:
    """The server gets the agent's body with another model, its own key and the agent's version; the
    agent gets the server's bytes; the trace gives all four bodies again."""
    attempt = await evaluated(world, delivery=delivery)
    async with claude(world, attempt) as client:
        reply = await ask(client, said("hi"), stream=stream)
    assert reply.id.startswith("msg_01")
    assert reply.model == "served-model-20260101"
    assert reply.content[0].to_dict() == text_block("Hello there.")
    got = native.calls[0]
    assert got.path == "/v1/messages"
    assert got.headers["x-api-key"] == KEY
    assert got.headers["anthropic-version"] == client.default_headers["anthropic-version"]
    assert world.token(attempt) not in str(got.headers)
    assert got.headers["x-rolldock-session"] == attempt
    assert (got.body["model"], got.body["max_tokens"]) == ("served-model", 4096)
    await world.delivered(attempt, 0)
    turn = (await world.trace(attempt)).turns[0]
    assert (turn.upstream, turn.streamed) == ("anthropic.messages", stream)
    assert turn.message == {"role": "assistant", "content": "Hello there."}
    assert turn.finish_reason == "stop"
    assert turn.usage.model_dump(include={"input_tokens", "output_tokens", "cached_tokens"}) == {
        "input_tokens": 60,
        "output_tokens": 5,
        "cached_tokens": 30,
    }
    assert turn.delivered_digest == turn.reply.digest
    assert turn.sampling == {"max_tokens": 4096}
    again = await world.rebuilder(attempt)
    request = await again.request(0)
    assert request.replace(b'"mine"', b'"served-model"') == await again.sent(0) == got.raw
    assert await again.reply(0) == await again.delivered(0) == native.sent[0]


async def test_nothing_to_override(world: World, native: NativeServer) -> None:
    """A body that already says what the session wants goes on byte for byte, however it is written
    and whatever is in it."""
    attempt = await evaluated(world)
    raw = b'{ "model" : "served-model","max_tokens":1e2,\n "messages":[{"role":"user",'
    raw += b'"content":"\\u00e9 \\ud83d"}], "future":{"x":[1.50]} }\n'
    status, reply = await post(world, attempt, raw)
    assert (status, reply) == (200, native.sent[0])
    assert native.calls[0].raw == raw
    again = await world.rebuilder(attempt)
    assert await again.request(0) == await again.sent(0) == raw


@pytest.mark.parametrize("stream", [False, True])
async def test_what_chat_cannot_say(world: World, native: NativeServer, stream: bool) -> None:
    """Thinking with its signature, hosted tools and documents go both ways as they are; the next
    request finds its parent, and only what is new is stored."""
    attempt = await evaluated(world)
    content = [THINKING, SEARCH, FOUND, text_block("Now a command. "), USE]
    native.plans.append(NativePlan(content=content, stop_reason="tool_use"))
    question = said("What is in the file?", DOCUMENT)
    async with claude(world, attempt) as client:
        more: JsonObject = {"tools": [*TOOLS], "system": [text_block("Be brief.")]}
        first = await ask(client, question, stream=stream, **more)
        assert [block.to_dict() for block in first.content] == content
        result: JsonObject = {"type": "tool_result", "tool_use_id": "toolu_01A", "content": "a.pdf"}
        await ask(client, question, shown(first), said(result), stream=stream, **more)
    sent = cast(list[JsonObject], native.calls[1].body["messages"])
    assert sent[1]["content"] == content
    assert native.calls[1].body["tools"] == TOOLS
    one, two = (await world.trace(attempt)).turns
    assert (one.finish_reason, two.parent) == ("tool_calls", 0)
    assert one.message["reasoning_content"] == "Look first."
    assert one.message["content"] == [SEARCH, FOUND, text_block("Now a command. ")]
    calls = cast(list[JsonObject], one.message["tool_calls"])
    function: JsonObject = {"name": "shell", "arguments": '{"command":"ls -la /app"}'}
    assert calls == [{"id": "toolu_01A", "type": "function", "function": function}]
    assert two.messages[-1] == {"role": "tool", "tool_call_id": "toolu_01A", "content": "a.pdf"}
    assert two.native is not None
    assert (two.native.n_shared, len(two.native.items)) == (1, 2)
    again = await world.rebuilder(attempt)
    assert await again.sent(1) == native.calls[1].raw
    assert orjson.loads(await again.request(1))["system"] == [text_block("Be brief.")]


async def test_the_sessions_sampling(world: World, native: NativeServer) -> None:
    """What the session sets replaces what the agent asks for or is put in, the least token limit
    counts, and thinking gets no more than that leaves."""
    sampling = Sampling(temperature=0.5, top_k=20, max_tokens=2000)
    attempt = await evaluated(world, sampling=sampling, limits=Limits(max_output_tokens=1500))
    thinking: JsonObject = {"type": "enabled", "budget_tokens": 3000}
    async with claude(world, attempt) as client:
        await ask(client, said("hi"), temperature=1.0, thinking=thinking, metadata={"user_id": "u"})
    body = native.calls[0].body
    assert (body["temperature"], body["top_k"], body["max_tokens"]) == (0.5, 20, 1500)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1499}
    assert body["metadata"] == {"user_id": "u"}
    turn = (await world.trace(attempt)).turns[0]
    assert turn.sampling == {
        "temperature": 0.5,
        "thinking": {"type": "enabled", "budget_tokens": 1499},
        "max_tokens": 1500,
        "top_k": 20,
    }
    assert await (await world.rebuilder(attempt)).sent(0) == native.calls[0].raw


async def test_no_room_for_thinking(world: World, native: NativeServer) -> None:
    """Where the limit is below the least budget that there is, thinking is switched off."""
    attempt = await evaluated(world, sampling=Sampling(max_tokens=500))
    thinking: JsonObject = {"type": "enabled", "budget_tokens": 1024}
    async with claude(world, attempt) as client:
        await ask(client, said("hi"), thinking=thinking)
    assert native.calls[0].body["thinking"] == {"type": "disabled"}


async def test_sampling_that_the_format_cannot_say(world: World, native: NativeServer) -> None:
    """A session's sampling is never dropped: what the format has no field for is refused."""
    attempt = await evaluated(world, sampling=Sampling(seed=1, min_p=0.1))
    async with claude(world, attempt) as client:
        with pytest.raises(anthropic.BadRequestError, match="min_p, seed cannot be set in anthrop"):
            await ask(client, said("hi"))
    assert not native.calls


async def test_a_large_document(world: World, native: NativeServer) -> None:
    """A body of a megabyte goes on byte for byte but for the model."""
    attempt = await evaluated(world)
    data = "JVBERi0x" * 2**17
    source: JsonObject = {"type": "base64", "media_type": "application/pdf", "data": data}
    async with claude(world, attempt) as client:
        await ask(client, said({"type": "document", "source": source}))
    again = await world.rebuilder(attempt)
    request = await again.request(0)
    assert len(request) > 2**20
    assert request.replace(b'"mine"', b'"served-model"') == native.calls[0].raw
    assert await again.sent(0) == native.calls[0].raw


async def test_a_format_that_is_taken_back(world: World, native: NativeServer) -> None:
    """A call that waits while its endpoint loses the agent's format is refused with the mend."""
    attempt = await evaluated(world)
    before = await endpoints.newest(world.store, world.endpoint)
    assert before is not None
    paused = await endpoints.add(world.store, before.model_copy(update={"paused": True}))
    async with claude(world, attempt) as client:
        asked = asyncio.create_task(ask(client, said("hi")))
        await eventually(lambda: endpoints.is_waiting(world.store, paused, attempt, 0))
        await endpoints.add(world.store, before.model_copy(update={"native": ()}))
        with pytest.raises(anthropic.BadRequestError, match="version 4 no longer takes"):
            await asked
    assert not native.calls


async def test_token_counts(world: World, native: NativeServer) -> None:
    """Tokens are estimated here for whatever is in the request; the server is not asked."""
    attempt = await evaluated(world)
    async with claude(world, attempt) as client:
        few = await client.messages.count_tokens(
            model="mine",
            messages=cast(list[anthropic.types.MessageParam], [said("hi", DOCUMENT)]),
        )
    assert 1600 < few.input_tokens < 1700
    assert not native.calls


async def test_training_never_passes_through(world: World, native: NativeServer) -> None:
    """A session whose turns may be trained on is translated to chat completions all the same, and
    so is an evaluation whose endpoint does not speak the agent's format."""
    training = await world.open()
    async with claude(world, training) as client:
        await ask(client, said("hi"))
    await world.add_endpoint(replicas=(native.url,))
    evaluating = await evaluated(world)
    async with claude(world, evaluating) as client:
        await ask(client, said("hi"))
        with pytest.raises(anthropic.BadRequestError, match="document"):
            await ask(client, said(DOCUMENT))
    assert [call.path for call in native.calls] == ["/v1/chat/completions"] * 2
    for attempt in (training, evaluating):
        turn = (await world.trace(attempt)).turns[0]
        assert (turn.dialect, turn.upstream) == ("anthropic.messages", "openai.chat")
