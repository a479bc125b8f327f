"""Retries, takeovers, END and deaths: each slot is answered once, whoever answers it."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import orjson
import pytest
from openai import APIConnectionError, PermissionDeniedError

from rolldock.models.base import JsonObject
from rolldock.models.session import EndReason, TurnClaim, TurnError
from tests.eventually import eventually
from tests.gateway.conftest import World, gateway_process, is_alive
from tests.gateway.model_server import Plan

BODY: JsonObject = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def ask(
    http: aiohttp.ClientSession, world: World, attempt: str, base: str = "", **headers: str
) -> JsonObject:
    """One raw call. Returns the reply."""
    headers = {"Authorization": f"Bearer {world.token(attempt)}", **headers}
    url = f"{base or world.gateway.url}/v1/chat/completions"
    async with http.post(url, data=orjson.dumps(BODY), headers=headers) as response:
        found = orjson.loads(await response.read())
        assert response.status == 200, found
        return found


async def leave(world: World, attempt: str, calls: int) -> None:
    """Send a call on a connection of its own and close that before there is a reply."""
    async with aiohttp.ClientSession() as own:
        asked = asyncio.create_task(ask(own, world, attempt))
        await world.model.arrived(calls)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def test_kill_in_a_held_call(own_world: World) -> None:
    """kill -9 of the child in a held call: the client's own retry gets the turn, which is in the
    trace once, and the model is asked at most once more."""
    attempt = await own_world.open()
    client = own_world.client(attempt)
    gate = asyncio.Event()
    own_world.model.plans.extend([Plan(gate=gate), Plan(content="after the kill")])
    asked = asyncio.create_task(
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    )
    await own_world.model.arrived(1)
    own_world.gateway.kill_child()
    reply = await asked
    gate.set()
    assert reply.choices[0].message.content == "after the kill"
    assert len(own_world.model.calls) == 2
    await own_world.delivered(attempt, 0)
    trace = await own_world.trace(attempt)
    assert [turn.slot for turn in trace.turns] == [0]
    takeover = await own_world.log(attempt).read_claim(0, takeover=2)
    assert isinstance(takeover, TurnClaim)
    assert not takeover.assumed_retry


async def test_kill_between_turns(own_world: World) -> None:
    """No connection is refused while there is no child, and the next one rebuilds the session from
    its log: the turn after the kill finds its parent."""
    attempt = await own_world.open()
    client = own_world.client(attempt)
    first = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}]
    )
    await own_world.delivered(attempt, 0)
    killed = own_world.gateway.kill_child()
    await eventually(lambda: not is_alive(killed))
    patient = own_world.client(attempt, max_retries=0)
    await patient.chat.completions.create(
        model="m",
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": first.choices[0].message.content},
            {"role": "user", "content": "on"},
        ],
    )
    turns = (await own_world.trace(attempt)).turns
    assert [(turn.parent, turn.n_shared) for turn in turns] == [(None, 0), (0, 1)]


async def test_a_retry_joins_the_open_call(world: World, http: aiohttp.ClientSession) -> None:
    """A retry by header while the call is open gets the same turn; the model is asked once."""
    attempt = await world.open()
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate))
    first = asyncio.create_task(ask(http, world, attempt))
    await world.model.arrived(1)
    retry = {"x-stainless-retry-count": "1"}
    second = asyncio.create_task(ask(http, world, attempt, **retry))
    # A third call of another kind passes through the same lock: the second is in by then.
    client = world.client(attempt)
    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    gate.set()
    assert (await first)["id"] == (await second)["id"]
    assert len(world.model.calls) == 2
    assert len((await world.trace(attempt)).turns) == 2


async def test_parallel_identical_calls_are_two_turns(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Two calls with one body, both open, are two turns."""
    attempt = await world.open()
    replies = await asyncio.gather(ask(http, world, attempt), ask(http, world, attempt))
    assert len({str(reply["id"]) for reply in replies}) == 2
    assert len(world.model.calls) == 2


async def test_the_same_body_after_delivery_is_a_new_turn(
    world: World, http: aiohttp.ClientSession
) -> None:
    """A turn that has arrived is not given again, even to what calls itself a retry."""
    attempt = await world.open()
    first = await ask(http, world, attempt)
    retry = {"x-stainless-retry-count": "1"}
    second = await ask(http, world, attempt, **retry)
    assert first["id"] != second["id"]


async def test_a_left_call_is_finished_and_given_to_who_asks_again(
    world: World, http: aiohttp.ClientSession
) -> None:
    """A disconnect lets the call finish; the same body afterwards is an assumed retry."""
    attempt = await world.open()
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate))
    await leave(world, attempt, 1)
    gate.set()
    log = world.log(attempt)

    async def recorded() -> bool:
        return await log.reply(0) is not None

    await eventually(recorded)
    await ask(http, world, attempt)
    assert len(world.model.calls) == 1
    assert len((await world.trace(attempt)).turns) == 1
    assumed = await log.read_claim(0, takeover=2)
    assert isinstance(assumed, TurnClaim)
    assert assumed.assumed_retry


async def test_two_left_calls_are_given_one_each(world: World, http: aiohttp.ClientSession) -> None:
    """Two retries of two identical calls get one turn each, not the same one twice."""
    attempt = await world.open()
    gate = asyncio.Event()
    world.model.plans.extend([Plan(gate=gate), Plan(gate=gate)])
    async with aiohttp.ClientSession() as own:
        asked = [asyncio.create_task(ask(own, world, attempt)) for _ in range(2)]
        await world.model.arrived(2)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    retry = {"x-stainless-retry-count": "1"}
    again = [asyncio.create_task(ask(http, world, attempt, **retry)) for _ in range(2)]
    client = world.client(attempt)
    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    gate.set()
    replies = await asyncio.gather(*again)
    assert len({str(reply["id"]) for reply in replies}) == 2
    assert len(world.model.calls) == 3


async def test_idempotency_key(world: World, http: aiohttp.ClientSession) -> None:
    """A key alone decides: the same one gets the same turn, with another body it is a 400."""
    attempt = await world.open()
    key = {"Idempotency-Key": "k1"}
    first = await ask(http, world, attempt, **key)
    assert (await ask(http, world, attempt, **key))["id"] == first["id"]
    assert len(world.model.calls) == 1
    headers = {"Authorization": f"Bearer {world.token(attempt)}", **key}
    other = orjson.dumps({**BODY, "temperature": 1})
    url = f"{world.gateway.url}/v1/chat/completions"
    async with http.post(url, data=other, headers=headers) as response:
        assert response.status == 400


async def test_takeover_by_another_gateway(
    own_world: World, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A second gateway that is asked again takes an open call over at once; the first reply wins
    and the loser delivers it."""
    attempt = await own_world.open()
    gate = asyncio.Event()
    own_world.model.plans.extend([Plan(gate=gate, content="slow"), Plan(content="fast")])
    with ExitStack() as stack:
        other = stack.enter_context(gateway_process(tmp_path / "store"))
        first = asyncio.create_task(ask(http, own_world, attempt))
        await own_world.model.arrived(1)
        second = await ask(http, own_world, attempt, base=other.url)
        gate.set()
        assert await first == second
    assert len((await own_world.trace(attempt)).turns) == 1


async def test_end_aborts_open_calls(world: World) -> None:
    """END that no budget wrote aborts the open call, which is recorded as an error."""
    attempt = await world.open()
    client = world.client(attempt)
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate))
    asked = asyncio.create_task(
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    )
    await world.model.arrived(1)
    await world.log(attempt).end(EndReason.STOPPED, by="stop_agent")
    with pytest.raises(PermissionDeniedError):
        await asked
    gate.set()
    assert isinstance(await world.log(attempt).reply(0), TurnError)


async def test_keep_alives_after_the_hold(world: World, http: aiohttp.ClientSession) -> None:
    """A stream that is held too long is opened, kept alive by comments, and then gets the turn."""
    attempt = await world.open(hold_seconds=0.05)
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate))
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    url = f"{world.gateway.url}/v1/chat/completions"
    async with http.post(
        url, data=orjson.dumps({**BODY, "stream": True}), headers=headers
    ) as response:
        assert response.status == 200
        line = await response.content.readline()
        assert line == b": keep-alive\n"
        gate.set()
        rest = await response.content.read()
    rebuilder = await world.rebuilder(attempt)
    delivered = await rebuilder.delivered(0)
    assert delivered is not None
    assert rest.endswith(delivered)


async def test_an_error_after_the_hold_is_an_event(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Once a stream is open, the model server's error comes as an event."""
    attempt = await world.open(hold_seconds=0.01)
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate, content=None, choice={"message": None}))
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    url = f"{world.gateway.url}/v1/chat/completions"
    async with http.post(
        url, data=orjson.dumps({**BODY, "stream": True}), headers=headers
    ) as response:
        await response.content.readline()
        gate.set()
        rest = await response.content.read()
    assert b'data: {"error":' in rest
    assert b"[DONE]" not in rest


async def test_terminating_drains_open_calls(own_world: World) -> None:
    """SIGTERM lets an open call finish and be recorded before child and parent end, with 0."""
    attempt = await own_world.open()
    client = own_world.client(attempt, max_retries=0)
    gate = asyncio.Event()
    own_world.model.plans.append(Plan(gate=gate))
    asked = asyncio.create_task(
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    )
    await own_world.model.arrived(1)
    child = own_world.gateway.child()
    assert child is not None
    own_world.gateway.process.terminate()
    gate.set()
    assert (await asked).choices[0].message.content == "Hello there."
    assert await asyncio.to_thread(own_world.gateway.process.wait, 10) == 0
    assert not is_alive(child)
    assert len((await own_world.trace(attempt)).turns) == 1
    with pytest.raises(APIConnectionError):
        await client.models.list()
