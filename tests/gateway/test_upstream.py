"""The one rule for model servers that fail: what is asked again, for how long, and what is said."""

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import APIError, APIStatusError, InternalServerError

from rolldock.agents.registry import get_agent
from rolldock.gateway.config import GatewayConfig
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.spec import Delivery
from rolldock.store.store import Store
from tests.agents.launches import launched
from tests.eventually import eventually
from tests.gateway.conftest import (
    GatewayProcess,
    World,
    close_clients,
    gateway_process,
)
from tests.gateway.model_server import ModelServer, Plan
from tests.gateway.test_chat import user

STALL_SECONDS = 0.5
TOTAL_SECONDS = 2.5

SAID: JsonObject = {"message": "not like this", "type": "their_kind", "code": "their_code"}


@pytest.fixture(scope="module")
def hasty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the gateway below."""
    return tmp_path_factory.mktemp("hasty") / "store"


@pytest.fixture(scope="module")
def hasty_gateway(hasty_store: Path) -> Iterator[GatewayProcess]:
    """A gateway that gives a try and a call up soon."""
    timers: dict[str, Any] = {
        "upstream_stall_seconds": STALL_SECONDS,
        "upstream_total_seconds": TOTAL_SECONDS,
        "keep_alive_seconds": 0.1,
    }
    with gateway_process(hasty_store, **timers) as running:
        yield running


@pytest.fixture
async def hasty(
    hasty_store: Path, hasty_gateway: GatewayProcess, model: ModelServer
) -> AsyncIterator[World]:
    """A world with that gateway."""
    made = World(Store.open(str(hasty_store)), hasty_gateway, model, f"e-{uuid.uuid4()}")
    await made.add_endpoint()
    yield made
    await close_clients(made)


async def say(world: World, attempt: str) -> str | None:
    """One call by a client that does not retry. Returns the text."""
    client = world.client(attempt, max_retries=0)
    reply = await client.chat.completions.create(model="m", messages=[user("hi")])
    return reply.choices[0].message.content


@pytest.mark.parametrize(
    "plan",
    [
        Plan(status=429, error={"error": SAID}),
        Plan(status=500),
        Plan(status=503, error={"error": SAID}),
        Plan(cut=True),
        Plan(gate=asyncio.Event()),
    ],
    ids=["429", "500", "503", "cut", "stall"],
)
async def test_what_is_asked_again(hasty: World, plan: Plan) -> None:
    """429, 5xx, a lost connection and a stall are asked again; the agent sees one good answer and
    the log has one turn."""
    attempt = await hasty.open()
    hasty.model.plans.append(plan)
    assert await say(hasty, attempt) == "Hello there."
    assert len(hasty.model.calls) == 2
    assert hasty.model.raw[0] == hasty.model.raw[1]
    trace = await hasty.trace(attempt)
    assert (len(trace.turns), len(trace.errors)) == (1, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
async def test_4xx_pass_through(world: World, status: int) -> None:
    """Any other 4xx is asked once, and reaches the agent with its status and its own words."""
    attempt = await world.open()
    world.model.plans.append(Plan(status=status, error={"error": SAID}))
    with pytest.raises(APIStatusError) as refused:
        await say(world, attempt)
    assert refused.value.status_code == status
    assert refused.value.response.json() == {"error": SAID}
    assert len(world.model.calls) == 1
    recorded = await world.log(attempt).reply(0)
    assert isinstance(recorded, TurnError)
    assert (recorded.status, recorded.upstream_status) == (status, status)


async def test_a_redirect_is_not_followed(world: World) -> None:
    """A model server that sends us elsewhere is not obeyed: the key would go there."""
    attempt = await world.open()
    world.model.plans.append(Plan(status=307, error={}))
    with pytest.raises(InternalServerError, match="answered 307"):
        await say(world, attempt)
    assert len(world.model.calls) == 1


async def test_retry_after_is_waited_for(world: World) -> None:
    """Retry-After of a 429 puts the next try off."""
    attempt = await world.open()
    world.model.plans.append(Plan(status=429, retry_after="1.2"))
    began = time.monotonic()
    await say(world, attempt)
    assert time.monotonic() - began >= 1.2
    assert len(world.model.calls) == 2


async def test_a_server_that_is_restarted(world: World) -> None:
    """A model server that is away for a moment costs no call."""
    attempt = await world.open()
    port = int(world.model.url.removesuffix("/v1").rpartition(":")[2])
    await world.model.stop()
    asked = asyncio.create_task(say(world, attempt))

    async def claimed() -> bool:
        return await world.log(attempt).read_claim(0) is not None

    await eventually(claimed)
    await world.model.start(port)
    assert await asked == "Hello there."


async def test_the_total_deadline(hasty: World) -> None:
    """A server that fails for too long is an error in the agent's format that tells its client not
    to retry, and is recorded in the model server's own words."""
    attempt = await hasty.open()
    hasty.model.plans.extend(itertools.repeat(Plan(status=503, error={"error": SAID}), 50))
    client = hasty.client(attempt)
    with pytest.raises(InternalServerError) as failed:
        await client.chat.completions.create(model="m", messages=[user("hi")])
    assert failed.value.status_code == 502
    assert failed.value.response.headers["x-should-retry"] == "false"
    assert "answered 503" in failed.value.message
    assert 2 <= len(hasty.model.calls) <= 8
    recorded = await hasty.log(attempt).reply(0)
    assert isinstance(recorded, TurnError)
    assert (recorded.status, recorded.upstream_status) == (502, 503)


async def test_a_server_that_is_silent_for_ever(hasty: World) -> None:
    """Stalls are asked again until the total deadline, then the agent gets a 504."""
    attempt = await hasty.open()
    gate = asyncio.Event()
    hasty.model.plans.extend(itertools.repeat(Plan(gate=gate), 50))
    with pytest.raises(InternalServerError) as failed:
        await say(hasty, attempt)
    assert failed.value.status_code == 504
    assert len(hasty.model.calls) >= 2
    gate.set()


async def test_an_error_after_the_hold(hasty: World, http: aiohttp.ClientSession) -> None:
    """A held stream that was opened gets the final error as an event, never a clean end."""
    attempt = await hasty.open(hold_seconds=0.05)
    hasty.model.plans.extend(itertools.repeat(Plan(status=503), 50))
    headers = {"Authorization": f"Bearer {hasty.token(attempt)}"}
    body = {"model": "m", "stream": True, "messages": [user("hi")]}
    url = f"{hasty.gateway.url}/v1/chat/completions"
    async with http.post(url, json=body, headers=headers) as response:
        assert response.status == 200
        sent = await response.content.read()
    assert sent.startswith(b": keep-alive")
    assert b'data: {"error":' in sent
    assert b"[DONE]" not in sent


@pytest.mark.parametrize(
    "plan",
    [Plan(cut=True), Plan(ends_early=True), Plan(gate=asyncio.Event())],
    ids=["cut", "ends early", "stall"],
)
async def test_a_live_stream_that_breaks(hasty: World, plan: Plan) -> None:
    """What breaks after the agent has seen a piece is an error to the agent, is never asked again
    and never looks like an end."""
    attempt = await hasty.open(delivery=Delivery.LIVE)
    client = hasty.client(attempt, max_retries=0)
    hasty.model.plans.append(plan)
    stream = await client.chat.completions.create(model="m", messages=[user("hi")], stream=True)
    seen: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")
            assert chunk.choices[0].finish_reason is None

    with pytest.raises(APIError):
        await read()
    assert "".join(seen).startswith("Hello")
    assert len(hasty.model.calls) == 1
    assert isinstance(await hasty.log(attempt).reply(0), TurnError)


def test_the_deadline_is_shorter_than_a_whole_calls() -> None:
    """The agent that does not stream holds on longer than the gateway tries: else it would ask
    again for what is still on its way."""
    config = GatewayConfig(store="/nowhere")
    assert config.upstream_total_seconds < get_agent("bash").hold_seconds


def test_the_agent_that_streams_has_no_deadline() -> None:
    """OpenCode waits for headers longer than they are held, then as long as keep-alives come."""
    config = GatewayConfig(store="/nowhere")
    agent = get_agent("opencode")
    (written,) = launched(agent, {}, hold_seconds=agent.hold_seconds).files.values()
    options = json.loads(written)["provider"]["rolldock"]["options"]
    assert options["timeout"] is False
    assert options["headerTimeout"] > agent.hold_seconds * 1000
    assert options["chunkTimeout"] > 10 * config.keep_alive_seconds * 1000
