"""What passes through on its way: live and held, cut, refused, asked for again, after a kill."""

import asyncio
import json
from collections.abc import Callable
from typing import cast

import anthropic
import orjson
import pytest

from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.spec import Delivery
from tests.gateway.conftest import World
from tests.gateway.native_bodies import NativePlan, text_block
from tests.gateway.native_client import ask, claude, error_of, evaluated, post, said
from tests.gateway.native_server import NativeServer


async def test_live_events_pass_at_once(world: World, native: NativeServer) -> None:
    """Under live delivery the first words come while the model is still at it; the events that end
    the message come when the turn is stored."""
    attempt = await evaluated(world, delivery=Delivery.LIVE)
    gate = asyncio.Event()
    native.plans.append(NativePlan(content=[text_block("one two three")], gate=gate))
    kinds: list[str] = []
    async with claude(world, attempt) as client:
        asked = said("hi")
        events = await client.messages.create(
            model="mine",
            max_tokens=10,
            messages=cast(list[anthropic.types.MessageParam], [asked]),
            stream=True,
        )
        async for event in events:
            kinds.append(event.type)
            if event.type == "content_block_delta":
                gate.set()
            if event.type == "message_delta":
                assert await world.log(attempt).reply(0) is not None
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("plan", [NativePlan(cut=True), NativePlan(ends_early=True)])
async def test_a_cut_stream(
    world: World, native: NativeServer, plan: NativePlan, delivery: Delivery
) -> None:
    """A stream that the server cuts, even cleanly, is asked for again while the agent has seen
    nothing, and is an error to it afterwards: never a clean end."""
    attempt = await evaluated(world, delivery=delivery)
    native.plans.append(plan)
    async with claude(world, attempt, retries=0) as client:
        if delivery is Delivery.HELD:
            reply = await ask(client, said("hi"), stream=True)
            assert reply.content[0].to_dict() == text_block("Hello there.")
            assert len(native.calls) == 2
            return
        with pytest.raises(anthropic.APIStatusError):
            await ask(client, said("hi"), stream=True)
    assert isinstance(await world.log(attempt).reply(0), TurnError)
    assert len(native.calls) == 1


OVERLOADED = error_of("overloaded_error", "Overloaded")


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize(
    "plan", [NativePlan(status=529, error=OVERLOADED), NativePlan(early_error=OVERLOADED)]
)
async def test_an_overloaded_server_is_asked_again(
    world: World, native: NativeServer, plan: NativePlan, delivery: Delivery
) -> None:
    """529 is retried, also where it comes as the first word of a stream, live or held."""
    attempt = await evaluated(world, delivery=delivery)
    native.plans.append(plan)
    async with claude(world, attempt, retries=0) as client:
        reply = await ask(client, said("hi"), stream=True)
    assert reply.content[0].to_dict() == text_block("Hello there.")
    assert len(native.calls) == 2
    await world.delivered(attempt, 0)
    assert await (await world.rebuilder(attempt)).delivered(0) == native.sent[-1]


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_the_servers_own(world: World, native: NativeServer, stream: bool) -> None:
    """What the server refuses comes in its words and under its status; a context that is too small
    is known as one."""
    attempt = await evaluated(world)
    said_by_server = error_of("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum")
    native.plans.append(NativePlan(status=400, error=said_by_server))
    async with claude(world, attempt) as client:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await ask(client, said("hi"), stream=stream)
    assert refused.value.body == said_by_server
    recorded = await world.log(attempt).reply(0)
    assert isinstance(recorded, TurnError)
    assert recorded.context_overflow


@pytest.mark.parametrize("delivery", list(Delivery))
async def test_an_error_in_mid_stream(
    world: World, native: NativeServer, delivery: Delivery
) -> None:
    """An error that the server sends as an event comes to the agent as one, or as the answer."""
    attempt = await evaluated(world, delivery=delivery)
    native.plans.append(NativePlan(late_error=error_of("invalid_request_error", "no such file")))
    async with claude(world, attempt, retries=0) as client:
        with pytest.raises(anthropic.APIStatusError, match="no such file") as refused:
            await ask(client, said("hi"), stream=True)
    assert refused.value.body == error_of("invalid_request_error", "no such file")
    assert len(native.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_retry_gets_the_stored_bytes(
    world: World, native: NativeServer, stream: bool
) -> None:
    """A request that says that it is a retry gets the bytes of the first try; the server is asked
    once."""
    attempt = await evaluated(world)
    raw = orjson.dumps({"model": "m", "max_tokens": 9, "stream": stream, "messages": [said("hi")]})
    status, first = await post(world, attempt, raw)
    assert (status, first) == (200, native.sent[0])
    # The first one was delivered: only its key tells that the second is the same.
    keyed = await evaluated(world)
    bodies = [await post(world, keyed, raw, key="k") for _ in range(2)]
    assert bodies == [(200, native.sent[1])] * 2
    assert len(native.calls) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_kill_in_a_held_call(
    own_world: World, own_native: NativeServer, stream: bool
) -> None:
    """kill -9 of the gateway in a held call: the client's own retry gets the server's message,
    which is in the trace once."""
    attempt = await evaluated(own_world)
    gate = asyncio.Event()
    own_native.plans.extend([NativePlan(gate=gate), NativePlan(content=[text_block("after it")])])
    async with claude(own_world, attempt) as client:
        asked = asyncio.create_task(ask(client, said("hi"), stream=stream))
        await own_native.arrived(1)
        own_world.gateway.kill_child()
        reply = await asked
    gate.set()
    assert reply.content[0].to_dict() == text_block("after it")
    await own_world.delivered(attempt, 0)
    assert [turn.slot for turn in (await own_world.trace(attempt)).turns] == [0]
    again = await own_world.rebuilder(attempt)
    assert await again.delivered(0) in own_native.sent


async def test_kill_between_turns(own_world: World, own_native: NativeServer) -> None:
    """Another gateway process gives a stored stream again to the byte, and knows what continues
    it."""
    attempt = await evaluated(own_world)
    body: JsonObject = {"model": "m", "max_tokens": 9, "messages": [said("hi")], "stream": True}
    first = await post(own_world, attempt, orjson.dumps(body), key="k")
    own_world.gateway.kill_child()
    assert await post(own_world, attempt, orjson.dumps(body), key="k") == first
    more: JsonObject = {**body, "messages": [said("hi"), said("Hello there.", role="assistant")]}
    await post(own_world, attempt, orjson.dumps(more), key="l")
    turns = (await own_world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 1)]
    assert len(own_native.calls) == 2


def indented(value: JsonObject) -> str:
    """As nobody writes a body."""
    return json.dumps(value, indent=3, ensure_ascii=False)


@pytest.mark.parametrize("write", [json.dumps, orjson.dumps, indented])
async def test_however_a_reply_is_written(
    world: World, native: NativeServer, write: Callable[[JsonObject], bytes | str]
) -> None:
    """Replies come through byte for byte in known styles and in none, as do their lines' ends."""
    attempt = await evaluated(world)

    def encoded(value: JsonObject) -> bytes:
        written = write(value)
        return written.encode() if isinstance(written, str) else written

    native.plans.extend([NativePlan(write=encoded), NativePlan(line=b"\r\n")])
    for stream in (False, True):
        body: JsonObject = {"model": "m", "max_tokens": 9, "messages": [said("hi")]}
        raw = encoded({**body, "stream": stream})
        status, reply = await post(world, attempt, raw)
        assert (status, reply) == (200, native.sent[-1])
        assert native.calls[-1].raw == raw.replace(b'"m"', b'"served-model"')
    again = await world.rebuilder(attempt)
    for slot in (0, 1):
        assert await again.reply(slot) == native.sent[slot]
        assert await again.sent(slot) == native.calls[slot].raw
