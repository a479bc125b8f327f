"""Live delivery: deltas at once, the end only when the turn is stored."""

import asyncio
from typing import cast

import pytest
from openai import APIError
from openai.types.chat import ChatCompletionMessageParam

from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.spec import Delivery
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.test_chat import CALL, TOOL, user


async def test_deltas_pass_before_the_reply_is_whole(world: World) -> None:
    """The first words reach the agent while the model is still at it; the raw stream is kept."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    gate = asyncio.Event()
    world.model.plans.append(Plan(content="one two three", gate=gate))
    stream = await client.chat.completions.create(model="mine", messages=[user("hi")], stream=True)
    words: list[str] = []
    async for chunk in stream:
        assert chunk.model == "mine"
        words.append(chunk.choices[0].delta.content or "")
        if words[-1]:
            gate.set()
    assert "".join(words) == "one two three "
    assert world.model.calls[0]["stream_options"] == {"include_usage": True}
    trace = await world.trace(attempt)
    turn = trace.turns[0]
    assert turn.message["content"] == "one two three "
    assert turn.usage.output_tokens == 5
    assert turn.delivered_digest is None
    assert b"data: [DONE]" in await (await world.rebuilder(attempt)).reply(0)


async def test_tool_calls_are_put_together(world: World) -> None:
    """Tool calls that come as deltas are in the turn whole."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    world.model.plans.append(Plan(content=None, tool_calls=[CALL]))
    stream = await client.chat.completions.create(
        model="m", messages=[user("hi")], tools=[TOOL], stream=True
    )
    async for _ in stream:
        pass
    assert (await world.trace(attempt)).turns[0].message["tool_calls"] == [CALL]


@pytest.mark.parametrize("plan", [Plan(cut=True), Plan(ends_early=True)])
async def test_a_cut_stream_is_an_error(world: World, plan: Plan) -> None:
    """A stream that the model server cuts, even cleanly, never looks like an end."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt, max_retries=0)
    world.model.plans.append(plan)
    stream = await client.chat.completions.create(model="m", messages=[user("hi")], stream=True)
    with pytest.raises(APIError):
        async for _ in stream:
            pass
    assert isinstance(await world.log(attempt).reply(0), TurnError)
    assert len(world.model.calls) == 1


async def test_errors_before_the_first_delta_are_retried(world: World) -> None:
    """Until the agent has seen something, a failed stream is asked for again."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    world.model.plans.append(Plan(status=503))
    stream = await client.chat.completions.create(model="m", messages=[user("hi")], stream=True)
    text = "".join([c.choices[0].delta.content or "" async for c in stream])
    assert text == "Hello there. "
    assert len(world.model.calls) == 2


async def test_calls_that_do_not_stream(world: World) -> None:
    """In a live session a call that does not stream is answered whole."""
    client = world.client(await world.open(delivery=Delivery.LIVE))
    reply = await client.chat.completions.create(model="m", messages=[user("hi")])
    assert reply.choices[0].message.content == "Hello there."


async def test_ids_that_the_model_server_repeats(world: World) -> None:
    """A call whose id the conversation has already gets one of its own, from its first piece on."""
    attempt = await world.open(delivery=Delivery.LIVE)
    client = world.client(attempt)
    world.model.plans.extend(Plan(content=None, tool_calls=[CALL]) for _ in range(2))
    messages: list[ChatCompletionMessageParam] = [user("hi")]
    ids: list[str] = []
    for _ in range(2):
        async with client.chat.completions.stream(model="m", messages=messages) as stream:
            reply = (await stream.get_final_completion()).choices[0].message
        assert reply.tool_calls is not None
        ids.append(reply.tool_calls[0].id)
        messages.append(cast(ChatCompletionMessageParam, reply.to_dict()))
        messages.append({"role": "tool", "tool_call_id": ids[-1], "content": "done"})
    turns = (await world.trace(attempt)).turns
    stored = [cast(list[JsonObject], turn.message["tool_calls"])[0]["id"] for turn in turns]
    assert stored == ids
    assert len(set(ids)) == 2
