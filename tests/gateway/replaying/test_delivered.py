"""How what is played reaches the agent: streamed or whole, held or live, and when it asks again."""

import aiohttp
import pytest
from openai.types.chat import ChatCompletionMessageParam

from rolldock.models.base import JsonObject
from rolldock.models.replay import OnDivergence
from rolldock.models.spec import Delivery
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.replaying.plays import origins, post, replay, say, turns, user


async def streamed(world: World, attempt: str, *texts: str) -> str:
    """A streamed call, whose texts are the user's and the model's in turn. What is answered."""
    said: list[ChatCompletionMessageParam] = [
        {"role": "assistant", "content": text} if number % 2 else {"role": "user", "content": text}
        for number, text in enumerate(texts)
    ]
    client = world.client(attempt)
    stream = await client.chat.completions.create(model="m", messages=said, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    return "".join(pieces)


@pytest.mark.parametrize("delivery", list(Delivery))
async def test_streams(world: World, http: aiohttp.ClientSession, delivery: Delivery) -> None:
    """What was recorded whole is played as a stream, a divergence then streams from the model, and
    so does what continues it, held or live."""
    world.model.plans.append(Plan(content="one"))
    recorded = await world.open()
    await say(http, world, recorded, [user("hi")])
    again = await replay(world, recorded, on_divergence=OnDivergence.LIVE, delivery=delivery)
    assert await streamed(world, again, "hi") == "one"
    world.model.plans.extend([Plan(content="live two"), Plan(content="live three")])
    two = await streamed(world, again, "hi", "one", "off")
    three = await streamed(world, again, "hi", "one", "off", two, "on")
    # A stream's last word has a space after it.
    assert (two.strip(), three.strip()) == ("live two", "live three")
    found = await turns(world, again)
    assert origins(found) == [0, None, None]
    assert [turn.parent for turn in found] == [None, 0, 1]
    assert [turn.diverged is not None for turn in found] == [False, True, False]
    assert all(turn.streamed for turn in found)


@pytest.mark.parametrize("delivery", list(Delivery))
async def test_a_stream_that_diverges_and_stops(
    world: World, http: aiohttp.ClientSession, delivery: Delivery
) -> None:
    """It gets the report as any call does, before a stream has begun."""
    recorded = await world.open()
    await say(http, world, recorded, [user("hi")])
    again = await replay(world, recorded, delivery=delivery)
    asked: JsonObject = {"model": "m", "messages": [user("ho")], "stream": True}
    status, refusal = await post(http, world, again, asked)
    assert status == 400
    assert "turn 0 (slot 0) diverged from the recording" in str(refusal)


async def test_a_client_that_asks_again_gets_the_same(
    world: World, http: aiohttp.ClientSession
) -> None:
    """A retry of a played call takes no second recorded turn: the equal request after it does."""
    world.model.plans.extend([Plan(content="heads"), Plan(content="tails")])
    recorded = await world.open()
    messages = [user("Toss a coin.")]
    for _ in range(2):
        await say(http, world, recorded, messages)
    again = await replay(world, recorded)
    asked: JsonObject = {"model": "m", "messages": [*messages]}
    once = {"Idempotency-Key": "once"}
    first = await post(http, world, again, asked, **once)
    assert await post(http, world, again, asked, **once) == first
    assert "heads" in str(first)
    assert (await say(http, world, again, messages))["content"] == "tails"
    assert origins(await turns(world, again)) == [0, 1]
