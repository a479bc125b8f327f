"""Anthropic Messages through the gateway, with the official client."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from anthropic import AsyncAnthropic, omit
from anthropic.types import (
    ContentBlock,
    ContentBlockParam,
    Message,
    MessageParam,
    TextBlock,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlock,
)
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan

TOOL: ToolParam = {
    "name": "shell",
    "description": "Run a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
"""Passed on as it is: nobody looks at it."""


@asynccontextmanager
async def claude(world: World, attempt: str, retries: int = 2) -> AsyncGenerator[AsyncAnthropic]:
    """The official client with a session's token."""
    async with AsyncAnthropic(
        base_url=world.gateway.url, api_key=world.token(attempt), max_retries=retries
    ) as client:
        yield client


def user(*content: ContentBlockParam | str) -> MessageParam:
    """A user's message, of one text or of blocks."""
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    return {"role": "user", "content": [part for part in content if not isinstance(part, str)]}


def call(number: int, arguments: str) -> JsonObject:
    """A tool call as a chat model server writes it."""
    function: JsonObject = {"name": "shell", "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def result(tool_use: ToolUseBlock, content: str) -> ToolResultBlockParam:
    """What a tool has given."""
    return {"type": "tool_result", "tool_use_id": tool_use.id, "content": content}


def words(block: ContentBlock) -> str:
    """The text of a block of text."""
    assert isinstance(block, TextBlock)
    return block.text


def saying(**message: JsonValue) -> Plan:
    """A reply whose message has these fields."""
    whole: JsonObject = {"role": "assistant", "content": "done", **message}
    return Plan(choice={"message": whole})


async def ask(
    client: AsyncAnthropic, *messages: MessageParam, stream: bool = False, tools: bool = False
) -> Message:
    """One call, streamed or not. Returns the whole message as the client puts it together."""
    given = [TOOL] if tools else omit
    if not stream:
        return await client.messages.create(
            model="mine", max_tokens=100, messages=messages, tools=given
        )
    async with client.messages.stream(
        model="mine", max_tokens=100, messages=messages, tools=given
    ) as events:
        return await events.get_final_message()


def sent_messages(world: World, number: int) -> list[JsonObject]:
    """The messages of a call that reached the model server."""
    return cast(list[JsonObject], world.model.calls[number]["messages"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply(world: World, stream: bool) -> None:
    """A reply comes under the asked name and an id of its own, with usage that counts the cache
    apart; the model server gets a chat completion that does not stream."""
    attempt = await world.open()
    details: JsonObject = {"cached_tokens": 4}
    usage: JsonObject = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": details,
    }
    world.model.plans.append(Plan(extra={"usage": usage}))
    async with claude(world, attempt) as client:
        first = await ask(client, user("hi"), stream=stream)
        second = await ask(client, user("ho"), stream=stream)
    assert [words(block) for block in first.content] == ["Hello there."]
    assert (first.model, first.role, first.stop_reason) == ("mine", "assistant", "end_turn")
    assert first.id.startswith("msg_")
    assert first.id != second.id
    assert (first.usage.input_tokens, first.usage.cache_read_input_tokens) == (6, 4)
    assert first.usage.output_tokens == 5
    sent = world.model.calls[0]
    assert sent["model"] == "served-model"
    assert sent["messages"] == [{"role": "user", "content": "hi"}]
    assert sent["max_tokens"] == 100
    assert "stream" not in sent
    await world.delivered(attempt, 0, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_parallel_tool_calls(world: World, stream: bool) -> None:
    """Parallel calls come as blocks with ids that never repeat; their results go upstream as the
    messages that follow at once, and the arguments as the model wrote them."""
    attempt = await world.open()
    calls = [call(0, '{"command": "ls"}'), call(1, '{"command":"pwd"}'), call(2, "")]
    world.model.plans.extend(Plan(content="Look:", tool_calls=calls) for _ in range(2))
    async with claude(world, attempt) as client:
        first = await ask(client, user("go"), stream=stream, tools=True)
        assert first.stop_reason == "tool_use"
        assert [block.type for block in first.content] == ["text", *["tool_use"] * 3]
        uses = [block for block in first.content if isinstance(block, ToolUseBlock)]
        assert [use.input for use in uses] == [{"command": "ls"}, {"command": "pwd"}, {}]
        failed = result(uses[1], "no such thing")
        failed["is_error"] = True
        answers = user(result(uses[0], "a.txt"), failed, result(uses[2], ""), text("Go on."))
        second = await ask(client, user("go"), first.to_param(), answers, stream=stream)
    again = [block.id for block in second.content if isinstance(block, ToolUseBlock)]
    assert not set(again) & {use.id for use in uses}
    sent = sent_messages(world, 1)
    assert [message["role"] for message in sent] == ["user", "assistant", *["tool"] * 3, "user"]
    written = cast(list[JsonObject], sent[1]["tool_calls"])
    functions = [cast(JsonObject, one["function"]) for one in written]
    assert [function["arguments"] for function in functions][:2] == [
        '{"command": "ls"}',
        '{"command":"pwd"}',
    ]
    assert [message["content"] for message in sent[2:]] == [
        "a.txt",
        "Error: no such thing",
        "",
        "Go on.",
    ]
    tools = cast(list[JsonObject], world.model.calls[0]["tools"])
    assert cast(JsonObject, tools[0]["function"])["parameters"] == TOOL["input_schema"]
    turns = (await world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 1)]


def text(words: str) -> ContentBlockParam:
    """A block of text with a cache mark."""
    return {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_that_are_no_json(world: World, stream: bool) -> None:
    """Arguments that cannot be an input arrive under one key, and go back as they were."""
    attempt = await world.open()
    world.model.plans.append(Plan(content=None, tool_calls=[call(0, '{"command": ')]))
    async with claude(world, attempt) as client:
        first = await ask(client, user("go"), stream=stream, tools=True)
        use = first.content[0]
        assert isinstance(use, ToolUseBlock)
        assert use.input == {"INVALID_JSON": '{"command": '}
        await ask(client, user("go"), first.to_param(), user(result(use, "no JSON")))
    written = cast(list[JsonObject], sent_messages(world, 1)[1]["tool_calls"])
    assert cast(JsonObject, written[0]["function"])["arguments"] == '{"command": '
    assert (await world.trace(attempt)).turns[1].parent == 0


async def test_images(world: World) -> None:
    """Images go upstream inline or by address, those of tool results after the tools' messages."""
    async with claude(world, await world.open()) as client:
        inline: ContentBlockParam = {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
        }
        linked: ContentBlockParam = {
            "type": "image",
            "source": {"type": "url", "url": "https://example.test/a.png"},
        }
        shown: ToolResultBlockParam = {
            "type": "tool_result",
            "tool_use_id": "t1",
            "content": [
                {"type": "text", "text": "Here:"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                },
            ],
        }
        used: MessageParam = {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "shell", "input": {}}],
        }
        await ask(client, user(text("See"), inline, linked), used, user(shown, text("And?")))
    url = f"data:image/png;base64,{PIXEL}"
    image: JsonObject = {"type": "image_url", "image_url": {"url": url}}
    assert sent_messages(world, 0) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                image,
                {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "t1",
                    "type": "function",
                    "function": {"name": "shell", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "Here:\n[image: see below]"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Image of tool result t1:"},
                image,
                {"type": "text", "text": "And?"},
            ],
        },
    ]
