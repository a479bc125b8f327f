"""Endpoints under training: pause, resume, policy versions, and timers that stop meanwhile."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai.types.chat import ChatCompletion

from rolldock.errors import UsageError
from rolldock.models.endpoint import Endpoint, LogprobsMode
from rolldock.models.session import EndReason, TurnClaim
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.adding import EndpointRequest, add_endpoint
from rolldock.trainer.endpoints import (
    CallsOpenError,
    pause_endpoint,
    resume_endpoint,
    set_policy_version,
)
from tests.eventually import eventually
from tests.gateway.conftest import SECRET, World, close_clients, gateway_process
from tests.gateway.model_server import ModelServer, Plan
from tests.gateway.test_chat import user

STALL_SECONDS = 0.5
TOTAL_SECONDS = 1.0


def ask(world: World, attempt: str, text: str = "hi") -> "asyncio.Task[ChatCompletion]":
    """A call on its way."""
    client = world.client(attempt, max_retries=4)
    asked = client.chat.completions.create(model="m", messages=[user(text)])
    return asyncio.create_task(asked)


async def open_call(world: World, attempt: str) -> tuple["asyncio.Task[ChatCompletion]", Plan]:
    """A call that is at the model server until its plan's gate is opened."""
    plan = Plan(gate=asyncio.Event())
    world.model.plans.append(plan)
    asked = ask(world, attempt)
    await world.model.arrived(len(world.model.calls) + 1)
    return asked, plan


def release(plan: Plan) -> None:
    """Let the model server answer."""
    assert plan.gate is not None
    plan.gate.set()


def pause(world: World, seconds: float = 20) -> "asyncio.Task[object]":
    """A pause on its way."""
    return asyncio.create_task(pause_endpoint(world.store, world.endpoint, seconds))


async def is_paused(world: World) -> bool:
    """Whether the newest record says so."""
    newest = await endpoints.newest(world.store, world.endpoint)
    return newest is not None and newest.paused


async def test_pause_waits_for_open_calls_and_holds_new_ones(world: World) -> None:
    """`pause` returns once the older call has its reply; a new call waits for `resume`, and each
    turn says which policy answered it."""
    await set_policy_version(world.store, world.endpoint, "7")
    attempt = await world.open()
    older, plan = await open_call(world, attempt)
    pausing = pause(world)
    await eventually(lambda: is_paused(world))
    newer = ask(world, attempt, "ho")
    await eventually(lambda: waits(world, attempt, 1))
    assert not pausing.done()
    release(plan)
    await older
    await pausing
    assert len(world.model.calls) == 1
    await resume_endpoint(world.store, world.endpoint, "8")
    await newer
    turns = (await world.trace(attempt)).turns
    versions = [(turn.policy_version_start, turn.policy_version_end) for turn in turns]
    assert versions == [("7", "7"), ("8", "8")]


async def waits(world: World, attempt: str, slot: int) -> bool:
    """Whether a slot's call waits for the end of the newest pause."""
    newest = await endpoints.newest(world.store, world.endpoint)
    assert newest is not None
    return await endpoints.is_waiting(world.store, newest, attempt, slot)


async def test_a_turn_that_spans_an_update_is_tagged(world: World) -> None:
    """A policy version that changes while a call is open is the turn's end and not its start."""
    await set_policy_version(world.store, world.endpoint, "1")
    attempt = await world.open()
    asked, plan = await open_call(world, attempt)
    await set_policy_version(world.store, world.endpoint, "2")
    release(plan)
    await asked
    turn = (await world.trace(attempt)).turns[0]
    assert (turn.policy_version_start, turn.policy_version_end) == ("1", "2")


async def test_a_pause_names_who_is_still_open(world: World) -> None:
    """A wait that is over names rollout and turn; the endpoint stays paused, and pausing again
    goes on waiting."""
    attempt = await world.open()
    asked, plan = await open_call(world, attempt)
    with pytest.raises(CallsOpenError, match=r"1 older calls .*test/rollout \(turn 0\)") as raised:
        await pause(world, seconds=0.2)
    assert [(call.attempt, call.slot) for call in raised.value.calls] == [(attempt, 0)]
    assert await is_paused(world)
    release(plan)
    await asked
    await pause(world)
    await resume_endpoint(world.store, world.endpoint, None)


async def test_a_call_between_two_tries_is_not_open(world: World) -> None:
    """What is to be asked again after a pause keeps no pause waiting."""
    attempt = await world.open()
    world.model.plans.append(Plan(status=503, retry_after="0.3"))
    asked = ask(world, attempt)
    await world.model.arrived(1)
    await pause(world)
    assert not asked.done()
    assert len(world.model.calls) == 1
    await resume_endpoint(world.store, world.endpoint, None)
    await asked
    assert len(world.model.calls) == 2


async def test_a_gateway_that_died_keeps_no_pause_waiting(own_world: World) -> None:
    """After kill -9 with a call open, the agent's retry waits, and the pause is done."""
    attempt = await own_world.open()
    asked, plan = await open_call(own_world, attempt)
    pausing = pause(own_world)
    await eventually(lambda: is_paused(own_world))
    own_world.gateway.kill_child()
    await pausing
    release(plan)
    assert await waits(own_world, attempt, 0)
    await resume_endpoint(own_world.store, own_world.endpoint, None)
    await asked
    assert len((await own_world.trace(attempt)).turns) == 1


async def test_a_session_that_ended_keeps_no_pause_waiting(world: World) -> None:
    """A claim that nobody will answer is open until its session's END is a few seconds old."""
    attempt = await world.open()
    newest = await endpoints.newest(world.store, world.endpoint)
    assert newest is not None
    await endpoints.mark_caller(world.store, newest, attempt)
    claim = TurnClaim(gateway="gone", request_digest="0" * 64, claimed_at=datetime.now(UTC))
    await world.log(attempt).claim(0, claim)
    with pytest.raises(CallsOpenError):
        await pause(world, seconds=0.1)
    await world.log(attempt).end(EndReason.STOPPED, by="stop_agent")
    await pause(world)


async def test_a_pause_looks_only_at_who_called_since_the_last_one(world: World) -> None:
    """What an earlier pause has seen closed is not looked at again."""
    first, second = await world.open(), await world.open()
    await ask(world, first)
    await pause(world)
    resumed = await resume_endpoint(world.store, world.endpoint, None)
    await ask(world, second)
    found = await endpoints.callers(
        world.store, world.endpoint, resumed.drained_version, resumed.version + 1
    )
    assert found == {second}


async def test_waiting_streams_are_kept_alive(world: World, http: aiohttp.ClientSession) -> None:
    """A stream that waits for a pause to end gets keep-alives, then its turn."""
    await pause(world)
    attempt = await world.open(hold_seconds=0.05)
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    body = {"model": "m", "stream": True, "messages": [user("hi")]}
    url = f"{world.gateway.url}/v1/chat/completions"
    async with http.post(url, json=body, headers=headers) as response:
        assert await response.content.readline() == b": keep-alive\n"
        assert world.model.calls == []
        await resume_endpoint(world.store, world.endpoint, None)
        assert b"[DONE]" in await response.content.read()


async def test_what_changes_nothing_writes_nothing(world: World) -> None:
    """Pausing, resuming and naming the same policy twice leave one version each."""
    versions = [
        (await pause_endpoint(world.store, world.endpoint, 5)).version,
        (await pause_endpoint(world.store, world.endpoint, 5)).version,
        (await set_policy_version(world.store, world.endpoint, "a")).version,
        (await set_policy_version(world.store, world.endpoint, "a")).version,
        (await resume_endpoint(world.store, world.endpoint, "a")).version,
        (await resume_endpoint(world.store, world.endpoint, None)).version,
    ]
    # The first pause is two records: that it began, and that nothing older is open.
    assert versions == [3, 3, 4, 4, 5, 5]


async def test_adding_again_keeps_pause_and_policy(world: World) -> None:
    """An endpoint that is added again with another server stays paused, its policy stays too."""
    await set_policy_version(world.store, world.endpoint, "a")
    paused = await pause_endpoint(world.store, world.endpoint, 5)
    added = await add_endpoint(
        world.store,
        SECRET,
        world.endpoint,
        EndpointRequest(url=f"{world.model.url}/", model="served-model"),
    )
    assert added.version == paused.version + 1
    assert (added.paused, added.pause, added.policy_version) == (True, paused.pause, "a")


async def test_a_mode_of_log_probs_that_is_given_stays(world: World) -> None:
    """Where the probe cannot tell, what was said once holds until something else is said."""

    async def add(mode: LogprobsMode | None) -> Endpoint:
        return await add_endpoint(
            world.store,
            SECRET,
            world.endpoint,
            EndpointRequest(url=world.model.url, model="served-model", logprobs_mode=mode),
        )

    given, again = await add(LogprobsMode.PROCESSED), await add(None)
    assert given.logprobs_mode is LogprobsMode.PROCESSED
    assert again == given
    assert (await add(LogprobsMode.UNKNOWN)).logprobs_mode is LogprobsMode.UNKNOWN


@pytest.mark.parametrize("version", ["", "v" * 65])
async def test_a_policy_version_has_a_length(world: World, version: str) -> None:
    """An empty policy version and one that no spec could name are refused."""
    with pytest.raises(UsageError, match="1 to 64"):
        await set_policy_version(world.store, world.endpoint, version)


async def test_an_unknown_endpoint_is_named(world: World) -> None:
    """What does not exist can be neither paused nor resumed nor updated."""
    for change in (
        pause_endpoint(world.store, "nobody", 1),
        resume_endpoint(world.store, "nobody", None),
        set_policy_version(world.store, "nobody", "1"),
    ):
        with pytest.raises(UsageError, match="endpoint nobody does not exist"):
            await change


@pytest.fixture
async def hasty_world(tmp_path: Path, model: ModelServer) -> AsyncIterator[World]:
    """A world whose gateway gives a call up soon."""
    path = tmp_path / "store"
    timers: dict[str, Any] = {
        "upstream_stall_seconds": STALL_SECONDS,
        "upstream_total_seconds": TOTAL_SECONDS,
    }
    with gateway_process(path, **timers) as running:
        made = World(Store.open(str(path)), running, model, f"e-{uuid.uuid4()}")
        await made.add_endpoint()
        yield made
        await close_clients(made)


async def test_timers_stop_while_an_endpoint_is_paused(hasty_world: World) -> None:
    """A call that is open when its endpoint is paused neither stalls nor runs out of time until
    long after; resumed, it is given up in its usual time."""
    attempt = await hasty_world.open()
    asked, plan = await open_call(hasty_world, attempt)
    with pytest.raises(CallsOpenError):
        await pause(hasty_world, seconds=TOTAL_SECONDS * 2)
    assert not asked.done()
    assert len(hasty_world.model.calls) == 1
    await resume_endpoint(hasty_world.store, hasty_world.endpoint, None)
    # Given up as stalled: asked again, and this time answered at once.
    await asked
    assert len(hasty_world.model.calls) == 2
    release(plan)
