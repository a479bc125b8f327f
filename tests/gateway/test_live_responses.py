"""Live delivery in the Responses format, with the official client."""

import asyncio
from typing import cast

import orjson
import pytest
from openai import AsyncOpenAI
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseErrorEvent,
    ResponseFailedEvent,
    ResponseIncompleteEvent,
    ResponseInputItemParam,
    ResponseStreamEvent,
)

from rolldock.gateway.dialects.registry import dialect_named
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.spec import Delivery, Sampling
from tests.gateway.chunk_server import (
    CREATED,
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
from tests.gateway.test_responses import TOOL, calls_of, output, sent_back, streamed, user


def last_of(events: list[ResponseStreamEvent]) -> Response:
    """The response that ends a stream, whose events must agree with it."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent | ResponseIncompleteEvent)
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert done == last.response.output
    begun = [event.item.id for event in events if event.type == "response.output_item.added"]
    assert begun == [item.id for item in done]
    return last.response


async def asked(
    client: AsyncOpenAI, given: list[ResponseInputItemParam], key: str
) -> list[ResponseStreamEvent]:
    """All events of a streamed call with an idempotency key."""
    stream = await client.responses.create(
        model="mine",
        input=given,
        tools=[TOOL],
        stream=True,
        extra_headers={"Idempotency-Key": key},
    )
    return [event async for event in stream]


def said(response: Response) -> JsonObject:
    """All that a response says, but for the sampling, which a live one does not know."""
    return response.model_dump(exclude={"temperature", "top_p"})


async def test_deltas_pass_before_the_reply_is_whole(world: World) -> None:
    """Reasoning, text and arguments reach the agent piece by piece, while the model is at it."""
    client = world.client(await world.open(delivery=Delivery.LIVE))
    waits = {piece: asyncio.Event() for piece in ("Hm", "Now", '{"command": "l')}
    hm, now, command = waits.values()
    steps: list[Step] = [thinks("Hm"), hm, says("Now"), now, begins_call(0, '{"command": "l')]
    steps += [command, calls(0, 's"}'), *ends("tool_calls")]
    seen: list[str] = []
    async with chunk_server(world) as server:
        server.streams.append(steps)
        stream = await client.responses.create(model="mine", input="go", tools=[TOOL], stream=True)
        async for event in stream:
            delta = getattr(event, "delta", None)
            seen.append(delta if isinstance(delta, str) else event.type.removeprefix("response."))
            if seen[-1] in waits:
                waits[seen[-1]].set()
            if isinstance(event, ResponseCompletedEvent):
                assert event.response.created_at == CREATED
    assert seen == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "Hm"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "Now"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", '{"command": "l', 's"}'),
        *("function_call_arguments.done", "output_item.done", "completed"),
    ]


@pytest.mark.parametrize("steps", REPLIES.values(), ids=REPLIES.keys())
async def test_live_says_what_the_turn_says(world: World, steps: list[Step]) -> None:
    """What was streamed is what the stored turn gives to who asks again, streamed or whole."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    async with chunk_server(world) as server:
        server.streams.append(steps)
        live = last_of(await asked(client, [user("go")], "k"))
        await world.delivered(attempt, 0)
        assert said(last_of(await asked(client, [user("go")], "k"))) == said(live)
        assert len(server.calls) == 1
    turn = (await world.trace(attempt)).turns[0]
    whole = dialect_named(turn.dialect).render(turn.model_copy(update={"streamed": False}), attempt)
    assert said(Response.construct(**orjson.loads(whole))) == said(live)
    assert live.usage is not None
    assert (live.usage.input_tokens, live.usage.output_tokens) == (10, 5)


async def test_the_clients_own_stream_helper(world: World) -> None:
    """The official client puts a live stream together to the response that it ends with."""
    client = world.client(await world.open(delivery=Delivery.LIVE))
    async with chunk_server(world) as server:
        server.streams.append(REPLIES["everything"])
        async with client.responses.stream(model="m", input="go", tools=[TOOL]) as stream:
            final = await stream.get_final_response()
    assert final.output_text == "\n\nNow:"
    assert [called.arguments for called in calls_of(final)] == [
        '{"command": "ls"}',
        '{"command":"pwd"}',
    ]


async def test_a_conversation(world: World) -> None:
    """Ids are fresh though the model server repeats its own, reasoning comes back from the log,
    and the next turn continues this one."""
    attempt = await world.open(delivery=Delivery.LIVE, sampling=Sampling(temperature=0.5))
    client = world.client(attempt)
    async with chunk_server(world) as server:
        server.streams.extend([REPLIES["everything"], REPLIES["everything"]])
        first = last_of(await streamed(client, [user("go")]))
        results = [output(called.call_id, "done") for called in calls_of(first)]
        given = [user("go"), *sent_back(first), *results]
        second = last_of(await streamed(client, given))
    ids = [called.call_id for called in (*calls_of(first), *calls_of(second))]
    assert len(set(ids)) == len(ids) == 4
    assert not {item.id for item in first.output} & {item.id for item in second.output}
    turns = (await world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 1)]
    own = cast(list[JsonObject], turns[1].message["tool_calls"])
    assert [call["id"] for call in own] == ids[2:]
    sent = cast(list[JsonObject], server.calls[1]["messages"])[1]
    assert (sent["reasoning_content"], sent["content"]) == ("Let me see.", "\n\nNow:")


async def test_functions_of_a_namespace(world: World) -> None:
    """A call of a function in a namespace bears its bare name and its namespace from the start."""
    client = world.client(await world.open(delivery=Delivery.LIVE))
    function: JsonObject = {"type": "function", "name": "click", "parameters": {}}
    space: JsonObject = {"type": "namespace", "name": "browser", "tools": [function]}
    async with chunk_server(world) as server:
        server.streams.append([begins_call(0, "{}", "browser__click"), *ends("tool_calls")])
        stream = await client.responses.create(
            model="m", input="go", stream=True, extra_body={"tools": [space]}
        )
        events = [event async for event in stream]
    added = [event.item for event in events if event.type == "response.output_item.added"]
    for item in (*added, *last_of(events).output):
        assert item.type == "function_call"
        assert (item.name, item.namespace) == ("click", "browser")


async def test_text_after_a_call(world: World) -> None:
    """What a model says after its calls comes as an item of its own, and is one message again
    when it is sent back; reasoning that comes so late is recorded, but not shown."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    late: list[Step] = [
        says("Look:"),
        begins_call(0, "{}"),
        says("\n"),
        says("Done."),
        thinks("Hm"),
    ]
    async with chunk_server(world) as server:
        server.streams.extend([[*late, *ends()], REPLIES["text"]])
        first = last_of(await streamed(client, [user("go")]))
        kinds = [item.type for item in first.output]
        assert kinds == ["message", "function_call", "message"]
        assert len({item.id for item in first.output}) == 3
        results = [output(called.call_id, "ok") for called in calls_of(first)]
        await streamed(client, [user("go"), *sent_back(first), *results])
    turns = (await world.trace(attempt)).turns
    assert turns[1].parent == 0
    assert turns[0].message["content"] == "Look:\nDone."
    assert turns[0].message["reasoning_content"] == "Hm"


async def test_text_and_refusal(world: World) -> None:
    """A refusal after text is another part of the same message."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    async with chunk_server(world) as server:
        refusal = REPLIES["a refusal"]
        server.streams.append([says("Well. "), *refusal])
        live = last_of(await streamed(client, [user("go")]))
    (item,) = live.output
    assert item.type == "message"
    assert [part.type for part in item.content] == ["output_text", "refusal"]
    turn = (await world.trace(attempt)).turns[0]
    turn = turn.model_copy(update={"streamed": False})
    whole = dialect_named(turn.dialect).render(turn, attempt)
    assert said(Response.construct(**orjson.loads(whole))) == said(live)


@pytest.mark.parametrize(("steps", "why"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_stream_that_fails(world: World, steps: list[Step], why: str) -> None:
    """A stream that fails on its way ends with `error` and `response.failed`."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    async with chunk_server(world) as server:
        server.streams.append(steps)
        events = await streamed(client, [user("hi")])
        assert len(server.calls) == 1
    error, failed = events[-2:]
    assert isinstance(error, ResponseErrorEvent)
    assert why in error.message
    assert isinstance(failed, ResponseFailedEvent)
    types = [event.type for event in events]
    assert types[0] == "response.created"
    assert not {"response.completed", "response.incomplete"} & set(types)
    assert isinstance(await world.log(attempt).reply(0), TurnError)


async def test_a_call_that_does_not_stream(world: World) -> None:
    """In a live session a call that does not stream is answered whole."""
    client = world.client(await world.open(delivery=Delivery.LIVE))
    response = await client.responses.create(model="m", input="hi")
    assert response.output_text == "Hello there."


async def test_what_fails_before_the_first_delta(world: World) -> None:
    """A stream that breaks before it has said anything is asked for again, unseen."""
    client = world.client(await world.open(delivery=Delivery.LIVE))
    async with chunk_server(world) as server:
        server.streams.extend([REPLIES["text"][:1], REPLIES["text"]])
        response = last_of(await streamed(client, [user("hi")]))
        assert response.output_text == "Hello there."
        assert len(server.calls) == 2
