"""Agents that ask what was not recorded, and forks: where a session stops, where it goes live."""

import aiohttp
import pytest

from rolldock.gateway.facts import read_facts
from rolldock.models.base import JsonObject
from rolldock.models.replay import OnDivergence
from rolldock.models.session import EndClaim, EndReason
from rolldock.models.spec import Limits, Sampling
from tests.eventually import eventually
from tests.gateway.conftest import World, is_alive
from tests.gateway.model_server import Plan
from tests.gateway.replaying.plays import (
    SYSTEM,
    origins,
    post,
    replay,
    say,
    talk,
    turns,
    user,
)

CLOCK = "It is five past twelve and {} seconds.\nSay hello."


async def record(world: World, http: aiohttp.ClientSession, *texts: str) -> str:
    """A recorded conversation, whose answers are `one`, `two`, ... Returns its attempt."""
    numbers = ("one", "two", "three", "four")
    world.model.plans.extend(
        Plan(content=number) for number, _ in zip(numbers, texts, strict=False)
    )
    attempt = await world.open()
    await talk(http, world, attempt, texts)
    world.model.calls.clear()
    return attempt


def asked(*texts: str) -> JsonObject:
    """The request that comes after what was said so far: texts of the user and answers in turn."""
    roles = ("user", "assistant")
    said: list[JsonObject] = [
        {"role": roles[n % 2], "content": text} for n, text in enumerate(texts)
    ]
    return {"model": "m", "messages": [SYSTEM, *said]}


async def test_it_stops_and_says_where(world: World, http: aiohttp.ClientSession) -> None:
    """Another time in the prompt: one error that names turn, field and both texts; then END."""
    recorded = await record(world, http, "hi", CLOCK.format(31))
    again = await replay(world, recorded)
    await talk(http, world, again, ["hi"])
    status, said = await post(http, world, again, asked("hi", "one", CLOCK.format(48)))
    assert status == 400
    assert "turn 1 (slot 1) diverged from the recording: messages[3].content" in str(said)
    assert (await post(http, world, again, asked("hi", "one", "what?")))[0] == 403
    trace = await world.trace(again)
    assert trace.end_reason is EndReason.REPLAY_DIVERGED
    report = trace.errors[0].divergence
    assert report is not None
    assert (report.slot, report.recorded_slot, report.turn) == (1, 1, 1)
    assert (report.field, report.went_live) == ("messages[3].content", False)
    assert report.recorded is not None
    assert "31 seconds" in report.recorded
    assert report.asked is not None
    assert "48 seconds" in report.asked
    assert "-It is five past twelve and 31 seconds." in report.diff.splitlines()
    assert " Say hello." in report.diff.splitlines()
    facts = await read_facts(world.log(again))
    assert facts.end_reason is EndReason.REPLAY_DIVERGED
    assert facts.divergence is not None
    assert "48 seconds" in facts.divergence
    assert not facts.undelivered
    assert world.model.calls == []


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"tools": [{"type": "function", "function": {"name": "ls"}}]}, "tools"),
        ({"temperature": 0.5}, "temperature"),
        (
            {"messages": [{"role": "system", "content": "Hurry."}, user("hi")]},
            "messages[0].content",
        ),
    ],
)
async def test_every_field_counts(
    world: World, http: aiohttp.ClientSession, changed: JsonObject, field: str
) -> None:
    """Tools, sampling and the system prompt too: the answer was to another request."""
    recorded = await record(world, http, "hi")
    again = await replay(world, recorded)
    status, _ = await post(http, world, again, {**asked("hi"), **changed})
    assert status == 400
    report = (await world.trace(again)).errors[0].divergence
    assert report is not None
    assert report.field == field


async def test_a_call_more_than_was_recorded(world: World, http: aiohttp.ClientSession) -> None:
    """No recorded turn is left: the report shows what was asked."""
    recorded = await record(world, http, "hi")
    again = await replay(world, recorded)
    await talk(http, world, again, ["hi"])
    assert (await post(http, world, again, asked("hi", "one", "and now?")))[0] == 400
    report = (await world.trace(again)).errors[0].divergence
    assert report is not None
    assert (report.recorded_slot, report.recorded) == (None, None)
    assert report.field.startswith("messages[3]")
    assert report.asked is not None
    assert "and now?" in report.asked


async def test_what_cannot_be_told_apart_has_diverged(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Two sub-agents went on from one turn, with a port each: another port could be either's."""
    recorded = await record(world, http, "hi")
    for number in (8001, 8002):
        world.model.plans.append(Plan(content=f"at {number}"))
        body = asked("hi", "one", f"curl localhost:{number}")
        assert (await post(http, world, recorded, body))[0] == 200
    again = await replay(world, recorded)
    await talk(http, world, again, ["hi"])
    body = asked("hi", "one", "curl localhost:8002")
    assert "at 8002" in str(await post(http, world, again, body))
    body = asked("hi", "one", "curl localhost:9999")
    # One of the two is left by now.
    assert "at 8001" in str(await post(http, world, again, body))
    fresh = await replay(world, recorded)
    await talk(http, world, fresh, ["hi"])
    assert (await post(http, world, fresh, body))[0] == 400
    report = (await world.trace(fresh)).errors[0].divergence
    assert report is not None
    assert report.recorded == "curl localhost:8001"


async def test_a_divergence_counts_whatever_ended_the_session(
    world: World, http: aiohttp.ClientSession
) -> None:
    """Recorded by a gateway that died before its END: whoever ends the session then finds it."""
    recorded = await record(world, http, "hi")
    again = await replay(world, recorded)
    assert await talk(http, world, again, ["hi"]) == ["one"]
    assert (await post(http, world, again, asked("hi", "one", "other")))[0] == 400
    await world.store.delete(f"sessions/{again}/000002.claim")
    log = world.log(again)
    await log.end(EndReason.STOPPED, by="stop_agent")
    facts = await read_facts(world.log(again), settle_seconds=0)
    assert facts.end_reason is EndReason.REPLAY_DIVERGED
    assert "other" in (facts.divergence or "")


async def test_killed_before_the_end_was_written(
    own_world: World, http: aiohttp.ClientSession
) -> None:
    """A gateway that recorded a divergence and died before END: the next one writes it."""
    recorded = await record(own_world, http, "hi")
    again = await replay(own_world, recorded)
    assert (await post(http, own_world, again, asked("other")))[0] == 400
    await own_world.store.delete(f"sessions/{again}/000001.claim")
    killed = own_world.gateway.kill_child()
    await eventually(lambda: not is_alive(killed))
    async with aiohttp.ClientSession() as fresh:
        assert (await post(fresh, own_world, again, asked("another")))[0] == 403
    end = await own_world.log(again).read_claim(1)
    assert isinstance(end, EndClaim)
    assert end.reason is EndReason.REPLAY_DIVERGED


async def test_it_goes_live_by_branch(world: World, http: aiohttp.ClientSession) -> None:
    """By choice the model is asked from there on, on that branch alone: the report is kept with
    the turn, another branch is played on."""
    recorded = await record(world, http, "hi", "on")
    other = [user("a sub-agent's task")]
    world.model.plans.append(Plan(content="recorded sub-agent"))
    await say(http, world, recorded, other)
    n_recorded = len(world.model.calls)
    again = await replay(world, recorded, on_divergence=OnDivergence.LIVE)
    world.model.plans.extend([Plan(content="live two"), Plan(content="live three")])
    await talk(http, world, again, ["hi"])
    await talk_on(http, world, again, "hi", "one", "off", "live two", "further")
    assert (await say(http, world, again, other))["content"] == "recorded sub-agent"
    found = await turns(world, again)
    assert origins(found) == [0, None, None, 2]
    assert [turn.diverged is not None for turn in found] == [False, True, False, False]
    report = found[1].diverged
    assert report is not None
    assert report.went_live
    assert (report.field, report.recorded_slot) == ("messages[3].content", 1)
    assert len(world.model.calls) == n_recorded + 2
    assert (await world.trace(again)).end_reason is None


async def talk_on(http: aiohttp.ClientSession, world: World, attempt: str, *texts: str) -> None:
    """Ask with all that was said before, again after every answer."""
    for n_said in range(3, len(texts) + 1, 2):
        status, _ = await post(http, world, attempt, asked(*texts[:n_said]))
        assert status == 200


async def test_a_live_error_keeps_the_report(world: World, http: aiohttp.ClientSession) -> None:
    """Gone live, and refused by the model server: both are recorded, and the session goes on."""
    recorded = await record(world, http, "hi")
    again = await replay(world, recorded, on_divergence=OnDivergence.LIVE)
    world.model.plans.append(Plan(status=404, error={"error": {"message": "no"}}))
    assert (await post(http, world, again, asked("other")))[0] == 404
    assert (await post(http, world, again, asked("hi")))[0] == 200
    trace = await world.trace(again)
    assert origins(trace.turns) == [0]
    report = trace.errors[0].divergence
    assert report is not None
    assert report.went_live


async def test_a_fork_is_live_after_its_turn(world: World, http: aiohttp.ClientSession) -> None:
    """Turns up to K are played, everything after it is the model's, the same request too; the
    session's seed holds for what is live."""
    recorded = await record(world, http, "a", "b", "c")
    fork = await replay(world, recorded, turn=1, sampling=Sampling(seed=1000))
    world.model.plans.extend([Plan(content="live c"), Plan(content="live new")])
    texts = ["a", "b", "c"]
    assert await talk(http, world, fork, texts) == ["one", "two", "live c"]
    assert (await say(http, world, fork, [user("new")]))["content"] == "live new"
    found = await turns(world, fork)
    assert origins(found) == [0, 1, None, None]
    assert [turn.parent for turn in found] == [None, 0, 1, None]
    assert [call["seed"] for call in world.model.calls] == [1002, 1003]
    assert all(turn.diverged is None for turn in found)


async def test_what_came_after_a_forks_turn_may_come_sooner(
    world: World, http: aiohttp.ClientSession
) -> None:
    """A call beside the conversation, such as a title's, that was recorded after turn K and is made
    before it this time is the model's, and no divergence."""
    recorded = await record(world, http, "a")
    world.model.plans.append(Plan(content="a title"))
    await say(http, world, recorded, [user("title?")])
    fork = await replay(world, recorded, turn=0)
    world.model.plans.append(Plan(content="another title"))
    assert (await say(http, world, fork, [user("title?")]))["content"] == "another title"
    assert await talk(http, world, fork, ["a"]) == ["one"]
    assert origins(await turns(world, fork)) == [None, 0]


async def test_a_fork_that_parts_before_its_turn(world: World, http: aiohttp.ClientSession) -> None:
    """Before K the recording is binding: what differs there is a divergence."""
    recorded = await record(world, http, "a", "b", "c")
    fork = await replay(world, recorded, turn=1)
    assert (await post(http, world, fork, asked("z")))[0] == 400
    assert (await world.trace(fork)).end_reason is EndReason.REPLAY_DIVERGED


async def test_a_forks_budget_is_what_was_left(world: World, http: aiohttp.ClientSession) -> None:
    """Played turns count: with a budget of three, a fork at its first turn has two of its own."""
    recorded = await record(world, http, "a", "b")
    fork = await replay(world, recorded, turn=0, limits=Limits(max_turns=3))
    assert len(await talk(http, world, fork, ["a", "x", "y"])) == 3
    status, said = await post(http, world, fork, asked("z"))
    assert (status, "max_turns" in str(said)) == (400, True)
    assert origins(await turns(world, fork)) == [0, None, None]
