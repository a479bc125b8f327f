"""Live delivery in Anthropic's format, with the official client."""

import asyncio
from typing import cast

import pytest
from anthropic import APIStatusError, AsyncAnthropic, AsyncStream
from anthropic.types import Message, MessageParam, RawMessageStreamEvent, ToolUseBlock

from rolldock.gateway.dialects.registry import dialect_named
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.spec import Delivery
from tests.gateway.chunk_server import (
    FAILURES,
    REPLIES,
    Step,
    begins_call,
    calls,
    chunk_server,
    ends,
    says,
    thinks,
)
from tests.gateway.conftest import World
from tests.gateway.test_anthropic import TOOL, ask, claude, result, user, words


async def put_together(
    client: AsyncAnthropic, *messages: MessageParam, key: str | None = None
) -> Message:
    """The message of a streamed call, as the client puts it together."""
    async with client.messages.stream(
        model="mine",
        max_tokens=100,
        messages=messages,
        tools=[TOOL],
        extra_headers=None if key is None else {"Idempotency-Key": key},
    ) as events:
        return await events.get_final_message()


def said(message: Message) -> JsonObject:
    """All that a message says."""
    return message.model_dump(exclude_none=True)


def piece_of(event: RawMessageStreamEvent) -> str | None:
    """What an event adds to a text, to reasoning or to a tool's input."""
    delta = event.delta if event.type == "content_block_delta" else None
    if delta is None:
        return None
    if delta.type == "text_delta":
        return delta.text
    if delta.type == "thinking_delta":
        return delta.thinking
    return delta.partial_json if delta.type == "input_json_delta" else None


async def note_types(stream: AsyncStream[RawMessageStreamEvent], seen: list[str]) -> None:
    """Read a stream; `seen` has the types of its events even if it fails."""
    async for event in stream:
        seen.append(event.type)


async def test_deltas_pass_before_the_reply_is_whole(world: World) -> None:
    """Reasoning, text and arguments reach the agent piece by piece, while the model is at it."""
    attempt = await world.open(delivery=Delivery.LIVE)
    waits: dict[str, asyncio.Event] = {
        piece: asyncio.Event() for piece in ("Hm", "Now", '{"command": "l')
    }
    hm, now, command = waits.values()
    steps: list[Step] = [thinks("Hm"), hm, says("Now"), now, begins_call(0, '{"command": "l')]
    steps += [command, calls(0, 's"}'), *ends("tool_calls")]
    seen: list[str] = []
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.append(steps)
        stream = await client.messages.create(
            model="mine", max_tokens=9, messages=[user("go")], tools=[TOOL], stream=True
        )
        async for event in stream:
            seen.append(piece_of(event) or event.type)
            if seen[-1] in waits:
                waits[seen[-1]].set()
    assert seen == [
        *("message_start", "content_block_start", "Hm", "content_block_delta"),
        *("content_block_stop", "content_block_start", "Now", "content_block_stop"),
        *("content_block_start", '{"command": "l', 's"}', "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert (await world.trace(attempt)).turns[0].delivered_digest is None


@pytest.mark.parametrize("steps", REPLIES.values(), ids=REPLIES.keys())
async def test_live_says_what_the_turn_says(world: World, steps: list[Step]) -> None:
    """What was streamed is what the stored turn gives to who asks again, streamed or whole."""
    attempt = await world.open(delivery=Delivery.LIVE)
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.append(steps)
        live = await put_together(client, user("go"), key="k")
        await world.delivered(attempt, 0)
        assert said(await put_together(client, user("go"), key="k")) == said(live)
        assert len(server.calls) == 1
    turn = (await world.trace(attempt)).turns[0]
    whole = dialect_named(turn.dialect).render(turn.model_copy(update={"streamed": False}), attempt)
    assert said(Message.model_validate_json(whole)) == said(live)
    assert (live.usage.input_tokens, live.usage.cache_read_input_tokens) == (6, 4)
    assert live.usage.output_tokens == 5


async def test_a_conversation(world: World) -> None:
    """Ids are fresh though the model server repeats its own; reasoning and the spacing of the
    arguments come back from the log, and the next turn continues this one."""
    attempt = await world.open(delivery=Delivery.LIVE)
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.extend([REPLIES["everything"], REPLIES["everything"]])
        first = await put_together(client, user("go"))
        assert [block.type for block in first.content] == ["thinking", "text", *["tool_use"] * 2]
        assert first.stop_reason == "tool_use"
        uses = [block for block in first.content if isinstance(block, ToolUseBlock)]
        assert [use.input for use in uses] == [{"command": "ls"}, {"command": "pwd"}]
        answers = user(*(result(use, "done") for use in uses))
        second = await put_together(client, user("go"), first.to_param(), answers)
    again = {block.id for block in second.content if isinstance(block, ToolUseBlock)}
    assert not again & {use.id for use in uses}
    assert first.id != second.id
    turns = (await world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 1)]
    own = cast(list[JsonObject], turns[1].message["tool_calls"])
    assert {str(call["id"]) for call in own} == again
    sent = cast(list[JsonObject], server.calls[1]["messages"])[1]
    assert (sent["reasoning_content"], sent["content"]) == ("Let me see.", "\n\nNow:")
    written = [
        cast(JsonObject, call["function"]) for call in cast(list[JsonObject], sent["tool_calls"])
    ]
    assert [function["arguments"] for function in written] == [
        '{"command": "ls"}',
        '{"command":"pwd"}',
    ]


async def test_arguments_that_go_wrong(world: World) -> None:
    """Arguments that stop being JSON when the agent has some of them still make an input that no
    tool takes, and go back as they were."""
    attempt = await world.open(delivery=Delivery.LIVE)
    wrong = '{"command": "ls", "command\n'
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.append([begins_call(0, wrong[:14]), calls(0, wrong[14:]), *ends("length")])
        server.streams.append(REPLIES["text"])
        first = await put_together(client, user("go"))
        assert first.stop_reason == "max_tokens"
        (use,) = first.content
        assert isinstance(use, ToolUseBlock)
        assert use.input == {"command": "ls", "INVALID_JSON": wrong}
        await put_together(client, user("go"), first.to_param(), user(result(use, "no JSON")))
    sent = cast(list[JsonObject], server.calls[1]["messages"])[1]
    written = cast(list[JsonObject], sent["tool_calls"])[0]
    assert cast(JsonObject, written["function"])["arguments"] == wrong
    assert (await world.trace(attempt)).turns[1].parent == 0


async def test_text_after_a_call(world: World) -> None:
    """What a model says after its calls comes as a block of its own, and is one message again
    when it is sent back; reasoning that comes so late is recorded, but not shown."""
    attempt = await world.open(delivery=Delivery.LIVE)
    late: list[Step] = [
        says("Look:"),
        begins_call(0, "{}"),
        says("\n"),
        says("Done."),
        thinks("Hm"),
    ]
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.extend([[*late, *ends()], REPLIES["text"]])
        first = await put_together(client, user("go"))
        assert [block.type for block in first.content] == ["text", "tool_use", "text"]
        use = first.content[1]
        assert isinstance(use, ToolUseBlock)
        await put_together(client, user("go"), first.to_param(), user(result(use, "ok")))
    turns = (await world.trace(attempt)).turns
    assert turns[1].parent == 0
    assert turns[0].message["content"] == "Look:\nDone."
    assert turns[0].message["reasoning_content"] == "Hm"


async def test_stop_sequences(world: World) -> None:
    """A stop sequence is named where the model server says which it was."""
    attempt = await world.open(delivery=Delivery.LIVE)
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.append([says("a"), *ends("stop", stop_reason="###")])
        async with client.messages.stream(
            model="m", max_tokens=9, messages=[user("hi")], stop_sequences=["###"]
        ) as events:
            message = await events.get_final_message()
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "###")


@pytest.mark.parametrize(("steps", "why"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_stream_that_fails(world: World, steps: list[Step], why: str) -> None:
    """A stream that fails on its way is an error in Anthropic's shape, never an end."""
    attempt = await world.open(delivery=Delivery.LIVE)
    seen: list[str] = []
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.append(steps)
        stream = await client.messages.create(
            model="m", max_tokens=9, messages=[user("hi")], tools=[TOOL], stream=True
        )
        with pytest.raises(APIStatusError, match=why) as raised:
            await note_types(stream, seen)
        assert len(server.calls) == 1
    assert cast(JsonObject, raised.value.body)["type"] == "error"
    assert seen[0] == "message_start"
    assert not {"message_delta", "message_stop"} & set(seen)
    assert isinstance(await world.log(attempt).reply(0), TurnError)


async def test_a_call_that_does_not_stream(world: World) -> None:
    """In a live session a call that does not stream is answered whole."""
    async with claude(world, await world.open(delivery=Delivery.LIVE)) as client:
        message = await ask(client, user("hi"))
    assert [words(block) for block in message.content] == ["Hello there."]


async def test_what_fails_before_the_first_delta(world: World) -> None:
    """A stream that breaks before it has said anything is asked for again, unseen."""
    attempt = await world.open(delivery=Delivery.LIVE)
    async with chunk_server(world) as server, claude(world, attempt) as client:
        server.streams.extend([REPLIES["text"][:1], REPLIES["text"]])
        message = await put_together(client, user("hi"))
        assert [block.type for block in message.content] == ["text"]
        assert len(server.calls) == 2
