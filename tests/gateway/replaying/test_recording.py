"""Sessions that are answered from a recording: no model is asked, and every turn is a whole one."""

import asyncio
from itertools import permutations

import aiohttp
import pytest

from rolldock.models.base import JsonObject
from rolldock.models.session import EndReason, TurnError
from rolldock.models.spec import Limits, Purpose
from tests.eventually import eventually
from tests.gateway.conftest import World, is_alive
from tests.gateway.model_server import Plan
from tests.gateway.native_client import ask, claude, said
from tests.gateway.native_server import NativeServer
from tests.gateway.replaying.plays import origins, post, replay, say, talk, turns, user

TEXTS = ("List the files.", "Read the first.", "Thank you.")


def plans(world: World, *contents: str) -> None:
    """What the model says next, in this order."""
    world.model.plans.extend(Plan(content=content) for content in contents)


async def test_no_model_is_asked(world: World, http: aiohttp.ClientSession) -> None:
    """The same conversation gets the same answers from a dead endpoint, and is stored whole."""
    plans(world, "one", "two", "three")
    recorded = await world.open()
    assert await talk(http, world, recorded, TEXTS) == ["one", "two", "three"]
    before = await turns(world, recorded)
    await world.model.stop()
    again = await replay(world, recorded, endpoint="never-added")
    assert await talk(http, world, again, TEXTS) == ["one", "two", "three"]
    found = await turns(world, again)
    assert origins(found) == [0, 1, 2]
    assert [turn.parent for turn in found] == [None, 0, 1]
    for own, other in zip(found, before, strict=True):
        assert own.usage == other.usage
        assert (own.message, own.endpoint) == (other.message, world.endpoint)
        assert (own.replayed and own.replayed.attempt) == recorded
    calls = await world.rebuilder(again)
    for slot in range(3):
        assert await calls.request(slot)
        assert await calls.sent(slot)
        assert await calls.reply(slot)
        assert await calls.delivered(slot)
    assert len(world.model.calls) == 3


async def test_from_the_log_where_nothing_was_sealed(
    world: World, http: aiohttp.ClientSession
) -> None:
    """A recording whose trace was never written is read from its session log."""
    plans(world, "one", "two")
    recorded = await world.open()
    await talk(http, world, recorded, TEXTS[:2])
    again = await replay(world, recorded)
    assert await talk(http, world, again, TEXTS[:2]) == ["one", "two"]
    assert len(world.model.calls) == 2


async def test_volatile_parts_may_differ(world: World, http: aiohttp.ClientSession) -> None:
    """Times, ids, paths, durations and ports of a tool's output are looked past."""
    recorded = await world.open()
    then = (
        "At 2026-11-23T19:13:30Z in /tmp/tmpab12cd34 run 1b4e28ba-2fa1-11d2-883f-0016d3cca427: "
        "pid 411, 0.31 s, http://localhost:8123, <object at 0x7f12ab34cd56>"
    )
    now = (
        "At 2027-01-02T03:04:05Z in /tmp/tmpzz98yy76 run 6fa459ea-ee8a-3ca4-894e-db77e160355e: "
        "pid 97, 12 ms, http://localhost:40991, <object at 0x55d0aa00bb11>"
    )
    plans(world, "one", "two")
    await talk(http, world, recorded, ["go", then])
    again = await replay(world, recorded)
    assert await talk(http, world, again, ["go", now]) == ["one", "two"]
    calls = await world.rebuilder(again)
    assert now.encode() in await calls.request(1)
    assert now.encode() in await calls.sent(1)


async def test_parallel_agents_never_swap(world: World, http: aiohttp.ClientSession) -> None:
    """Three agents side by side, told apart by a port or a path alone: in whatever order they ask,
    each gets what it got, in its second turn too."""
    tasks = ["Try http://localhost:8001", "Try http://localhost:8002", "Look into /tmp/tmp.aBcD12"]
    recorded = await world.open()
    expected: dict[str, list[str]] = {}
    for number, task in enumerate(tasks):
        expected[task] = [f"{number} first", f"{number} second"]
        plans(world, *expected[task])
        assert await talk(http, world, recorded, [task, "go on"]) == expected[task]
    n_calls = len(world.model.calls)
    for order in permutations(tasks):
        again = await replay(world, recorded)
        asked = [talk(http, world, again, [task, "go on"]) for task in order]
        found = await asyncio.gather(*asked)
        assert dict(zip(order, found, strict=True)) == expected
        assert sorted(str(slot) for slot in origins(await turns(world, again))) == [*"012345"]
    assert len(world.model.calls) == n_calls


async def test_agents_of_another_day_never_swap(world: World, http: aiohttp.ClientSession) -> None:
    """What varies for all of them tells nobody apart: what each was asked to do does, although it
    looks volatile too."""
    tasks = ["Review commit 1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b"]
    tasks.append(tasks[0].replace("1a2b", "9f8e"))
    recorded = await world.open()
    for task, answer in zip(tasks, ("first", "second"), strict=True):
        plans(world, answer)
        day: JsonObject = {"role": "system", "content": "Today is 2026-01-02."}
        await say(http, world, recorded, [day, user(task)])
    again = await replay(world, recorded)
    later: JsonObject = {"role": "system", "content": "Today is 2026-03-04."}
    for task, answer in reversed([*zip(tasks, ("first", "second"), strict=True)]):
        assert (await say(http, world, again, [later, user(task)]))["content"] == answer


async def test_equal_requests_get_each_recorded_turn_once(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Two calls with one body had two answers: both are given, each once, then no more."""
    plans(world, "heads", "tails")
    recorded = await world.open()
    messages = [user("Toss a coin.")]
    for _ in range(2):
        await say(http, world, recorded, messages)
    again = await replay(world, recorded)
    given = await asyncio.gather(*(say(http, world, again, messages) for _ in range(2)))
    assert sorted(str(message["content"]) for message in given) == ["heads", "tails"]
    status, _ = await post(http, world, again, {"model": "m", "messages": [*messages]})
    assert status == 400


async def test_killed_between_turns(own_world: World, http: aiohttp.ClientSession) -> None:
    """A gateway that is killed between two turns knows afterwards which turns were played."""
    plans(own_world, "one", "again", "three")
    recorded = await own_world.open()
    messages = [user("Say something.")]
    for _ in range(3):
        await say(http, own_world, recorded, messages)
    again = await replay(own_world, recorded)
    given: list[object] = []
    for number in range(3):
        # A connection of its own: the one to the killed process is gone.
        async with aiohttp.ClientSession() as fresh:
            given.append((await say(fresh, own_world, again, messages))["content"])
        await own_world.delivered(again, number)
        killed = own_world.gateway.kill_child()
        await eventually(lambda killed=killed: not is_alive(killed))
    assert given == ["one", "again", "three"]
    assert origins(await turns(own_world, again)) == [0, 1, 2]
    assert len(own_world.model.calls) == 3


async def test_killed_in_a_live_turn(own_world: World, http: aiohttp.ClientSession) -> None:
    """Killed while a fork's model works: the client's retry is answered, live, and the prefix is
    not played twice."""
    plans(own_world, "one", "two")
    recorded = await own_world.open()
    await talk(http, own_world, recorded, TEXTS[:2])
    fork = await replay(own_world, recorded, turn=0)
    client = own_world.client(fork)
    gate = asyncio.Event()
    own_world.model.plans.extend([Plan(gate=gate), Plan(content="another two")])
    await client.chat.completions.create(
        model="m",
        messages=[
            {"role": "system", "content": "You are careful."},
            {"role": "user", "content": TEXTS[0]},
        ],
    )
    asked = asyncio.create_task(
        client.chat.completions.create(
            model="m",
            messages=[
                {"role": "system", "content": "You are careful."},
                {"role": "user", "content": TEXTS[0]},
                {"role": "assistant", "content": "one"},
                {"role": "user", "content": TEXTS[1]},
            ],
        )
    )
    await own_world.model.arrived(3)
    own_world.gateway.kill_child()
    assert (await asked).choices[0].message.content == "another two"
    gate.set()
    assert origins(await turns(own_world, fork)) == [0, None]


async def test_recorded_errors_are_played_at_their_place(
    world: World, http: aiohttp.ClientSession
) -> None:
    """An overflow, then the shortened request: the replay gets the same error, then the answer."""
    message = "This model's maximum context length is 10 tokens."
    refused: JsonObject = {"error": {"message": message, "code": "context_length_exceeded"}}
    long: JsonObject = {"model": "m", "messages": [user("long " * 50)]}
    world.model.plans.extend([Plan(status=400, error=refused), Plan(content="short enough")])
    recorded = await world.open()
    original = await post(http, world, recorded, long)
    assert original[0] == 400
    await say(http, world, recorded, [user("short")])
    again = await replay(world, recorded)
    assert await post(http, world, again, long) == original
    assert (await say(http, world, again, [user("short")]))["content"] == "short enough"
    errors = (await world.trace(again)).errors
    assert [error.replayed and error.replayed.slot for error in errors] == [0]
    assert errors[0].context_overflow


async def test_an_error_before_the_same_request_was_answered(
    world: World, http: aiohttp.ClientSession
) -> None:
    """What failed and was asked again fails again, then is answered."""
    body: JsonObject = {"model": "m", "messages": [user("hi")]}
    no: JsonObject = {"error": {"message": "no"}}
    world.model.plans.extend([Plan(status=404, error=no), Plan(content="yes")])
    recorded = await world.open()
    statuses = [(await post(http, world, recorded, body))[0] for _ in range(2)]
    again = await replay(world, recorded)
    assert [(await post(http, world, again, body))[0] for _ in range(2)] == statuses == [404, 200]


async def test_budgets_end_a_replay_where_the_original_did(
    world: World, http: aiohttp.ClientSession
) -> None:
    """max_turns counts played turns: the refusal of the third call is the original's."""
    plans(world, "one", "two")
    limits = Limits(max_turns=2)
    recorded = await world.open(limits=limits)
    await talk(http, world, recorded, TEXTS[:2])
    third: JsonObject = {"model": "m", "messages": [user("more")]}
    original = await post(http, world, recorded, third)
    again = await replay(world, recorded, limits=limits)
    await talk(http, world, again, TEXTS[:2])
    assert await post(http, world, again, third) == original
    assert (await world.trace(again)).end_reason is EndReason.MAX_TURNS


async def test_a_recording_that_is_gone(world: World, http: aiohttp.ClientSession) -> None:
    """Every call is refused with a sentence that says so; nothing is recorded."""
    again = await replay(world, "no-such-attempt")
    status, refusal = await post(http, world, again, {"model": "m", "messages": [user("hi")]})
    assert status == 403
    assert "no recording (any more)" in str(refusal)
    assert (await world.log(again).listing()).replies == set()


@pytest.mark.parametrize("stream", [False, True])
async def test_other_formats(world: World, stream: bool) -> None:
    """Anthropic's format, translated, with a tool call between: the replay is answered like it,
    streamed or not, and the ids that belong to a session do not matter."""
    call: JsonObject = {
        "id": "call_0",
        "type": "function",
        "function": {"name": "ls", "arguments": '{"path": "."}'},
    }
    world.model.plans.extend([Plan(content=None, tool_calls=[call]), Plan(content="Three files.")])
    recorded = await world.open()
    assert await _anthropic(world, recorded, stream=stream) == "Three files."
    again = await replay(world, recorded)
    assert await _anthropic(world, again, stream=stream) == "Three files."
    assert origins(await turns(world, again)) == [0, 1]
    assert len(world.model.calls) == 2


async def _anthropic(world: World, attempt: str, *, stream: bool) -> str:
    """A conversation of two turns in Anthropic's format. Returns the last answer."""
    messages = [said("How many files?")]
    properties: JsonObject = {"type": {"type": "string"}, "path": {"type": "string"}}
    schema: JsonObject = {"type": "object", "properties": properties}
    tools: list[JsonObject] = [{"name": "ls", "input_schema": schema}]
    async with claude(world, attempt) as client:
        for _ in range(2):
            reply = await ask(client, *messages, stream=stream, system="Be short.", tools=tools)
            block = reply.content[0]
            if block.type == "text":
                return block.text
            assert block.type == "tool_use"
            result: JsonObject = {
                "type": "tool_result",
                "tool_use_id": block.id,
                "content": "a b c",
            }
            messages.append(said(block.model_dump(exclude_none=True), role="assistant"))
            messages.append(said(result))
    raise AssertionError("two turns, and no text")


async def test_a_format_passed_through(world: World, native: NativeServer) -> None:
    """What the model server spoke itself is given to the byte, though its endpoint is gone."""
    recorded = await world.open(purpose=Purpose.EVAL)
    again = ""
    for _ in range(2):
        attempt = again or recorded
        async with claude(world, attempt) as client:
            await ask(client, said("hi"))
        if not again:
            await native.stop()
            again = await replay(world, recorded, purpose=Purpose.EVAL, endpoint="never-added")
    ours, theirs = await world.rebuilder(again), await world.rebuilder(recorded)
    assert await ours.delivered(0) == await theirs.delivered(0)
    assert (await turns(world, again))[0].dialect == (await turns(world, recorded))[0].dialect


async def test_the_models_list_is_the_recorded_one(
    world: World, http: aiohttp.ClientSession
) -> None:
    """An agent that lists the models of a replay finds the one of the recording."""
    recorded = await world.open()
    await talk(http, world, recorded, ["hi"])
    again = await replay(world, recorded, endpoint="never-added")
    headers = {"Authorization": f"Bearer {world.token(again)}"}
    async with http.get(f"{world.gateway.url}/v1/models", headers=headers) as response:
        assert response.status == 200
        assert "served-model" in await response.text()


async def test_a_replay_can_be_replayed(world: World, http: aiohttp.ClientSession) -> None:
    """The recording of a replay is as good as the first; what an END cut off is not played."""
    plans(world, "one", "two")
    recorded = await world.open()
    await talk(http, world, recorded, TEXTS[:2])
    first = await replay(world, recorded)
    await talk(http, world, first, TEXTS[:2])
    status, _ = await post(http, world, first, {"model": "m", "messages": [user("what?")]})
    assert status == 400
    assert isinstance((await world.trace(first)).errors[0], TurnError)
    second = await replay(world, first)
    assert await talk(http, world, second, TEXTS[:2]) == ["one", "two"]
