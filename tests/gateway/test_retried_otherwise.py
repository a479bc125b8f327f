"""Requests sent again that come to another gateway, or ask for another form of the answer."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import aiohttp
import orjson
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from rolldock.models.base import JsonObject
from tests.eventually import eventually
from tests.gateway.conftest import World, gateway_process
from tests.gateway.model_server import Plan

RETRIED: Final = {"x-stainless-retry-count": "1"}
HI: Final[list[JsonObject]] = [{"role": "user", "content": "hi"}]


def conversation(n_replies: int) -> JsonObject:
    """The body of the call after so many replies."""
    messages: list[JsonObject] = [{"role": "user", "content": "u0"}]
    for number in range(n_replies):
        messages.append({"role": "assistant", "content": f"a{number}"})
        messages.append({"role": "user", "content": f"u{number + 1}"})
    return {"model": "m", "messages": list(messages)}


async def ask(world: World, attempt: str, base: str, n_replies: int, **headers: str) -> JsonObject:
    """One raw call on a connection of its own. Returns the reply."""
    headers = {"Authorization": f"Bearer {world.token(attempt)}", **headers}
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{base}/v1/chat/completions",
            data=orjson.dumps(conversation(n_replies)),
            headers=headers,
        ) as response,
    ):
        assert response.status == 200
        return orjson.loads(await response.read())


async def test_a_gateway_that_is_behind_the_log_knows_a_retry(
    own_world: World, tmp_path: Path
) -> None:
    """It learns of the slot when its own claim is lost, and takes it over instead of claiming one
    more; what the other delivered meanwhile is no retry, however alike the request."""
    world, attempt = own_world, await own_world.open()
    world.model.plans.extend(Plan(content=f"a{number}") for number in range(3))
    with ExitStack() as stack:
        other = stack.enter_context(gateway_process(tmp_path / "store"))
        await ask(world, attempt, other.url, 0)
        once = await ask(world, attempt, world.gateway.url, 1)
        await world.delivered(attempt, 1)
        again = await ask(world, attempt, other.url, 1)
        assert once["id"] != again["id"]
        gate = asyncio.Event()
        world.model.plans.extend([Plan(gate=gate), Plan(content="after the kill")])
        asked = asyncio.create_task(ask(world, attempt, world.gateway.url, 3))
        await world.model.arrived(4)
        world.gateway.kill_child()
        await asyncio.gather(asked, return_exceptions=True)
        await ask(world, attempt, other.url, 3, **RETRIED)
        gate.set()
    log = world.log(attempt)
    assert [await log.read_claim(3, takeover=2) is None, await log.read_claim(4)] == [False, None]
    assert [turn.slot for turn in (await world.trace(attempt)).turns] == [0, 1, 2, 3]


@pytest.mark.parametrize("recorded", [False, True], ids=["open", "recorded"])
async def test_whole_after_a_stream_that_broke(world: World, recorded: bool) -> None:
    """A message, not the text of events; from the same turn."""
    attempt = await world.open(hold_seconds=0.05)
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate, content="said"))
    body = {"model": "m", "max_tokens": 100, "messages": HI}
    headers = {"x-api-key": world.token(attempt), "anthropic-version": "2023-06-01"}
    async with aiohttp.ClientSession() as own:
        url, sent = f"{world.gateway.url}/v1/messages", orjson.dumps({**body, "stream": True})
        streamed = await own.post(url, data=sent, headers=headers)
        assert streamed.status == 200
        streamed.close()
    if recorded:
        gate.set()
        await has_reply(world, attempt)
    async with AsyncAnthropic(
        base_url=world.gateway.url, api_key=world.token(attempt), max_retries=0
    ) as client:
        asked = asyncio.create_task(
            client.messages.create(
                model="m",
                max_tokens=100,
                messages=[{"role": "user", "content": "hi"}],
                extra_headers=RETRIED,
            )
        )
        if not recorded:
            await joined(world, attempt)
            gate.set()
        message = await asked
    assert [block.to_dict().get("text") for block in message.content] == ["said"]
    said_hi = [call for call in world.model.calls if call["messages"] == HI]
    assert len(said_hi) == 1


async def test_streamed_after_a_whole_call_that_broke(world: World) -> None:
    """Events, not an empty stream; from the same turn."""
    attempt = await world.open()
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate, content="said"))
    broken = asyncio.create_task(ask(world, attempt, world.gateway.url, 0))
    await world.model.arrived(1)
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)
    gate.set()
    await has_reply(world, attempt)
    client: AsyncOpenAI = world.client(attempt, max_retries=0)
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "u0"}], stream=True, extra_headers=RETRIED
    )
    pieces = [piece.choices[0].delta.content async for piece in stream if piece.choices]
    assert "".join(piece or "" for piece in pieces) == "said"
    assert len(world.model.calls) == 1


async def has_reply(world: World, attempt: str) -> None:
    """Wait until the first slot is answered."""
    log = world.log(attempt)

    async def answered() -> bool:
        return await log.reply(0) is not None

    await eventually(answered)


async def joined(world: World, attempt: str) -> None:
    """Wait until what was sent before has passed the session's lock: another call has."""
    client = world.client(attempt)
    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
