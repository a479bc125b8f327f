"""Faults of a real gateway process, and what it tells model servers of its calls."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from openai import APIConnectionError, InternalServerError

from rolldock.errors import UsageError
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Cut, Delay, Drop, Fault, Late
from rolldock.models.names import SESSION_HEADER, SLOT_HEADER
from rolldock.models.spec import Delivery
from rolldock.store.store import Store
from tests.gateway.conftest import GatewayProcess, World, close_clients, gateway_process
from tests.gateway.model_server import ModelServer

CALL = "/v1/chat/completions"
ASKED = {"model": "any", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    """A model server."""
    server = ModelServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the gateway that takes faults."""
    return tmp_path_factory.mktemp("faults") / "store"


@pytest.fixture(scope="module")
def gateway(path: Path) -> Iterator[GatewayProcess]:
    """The gateway that takes faults."""
    with gateway_process(path, faults=True) as running:
        yield running


@pytest.fixture
async def world(path: Path, gateway: GatewayProcess, model: ModelServer) -> AsyncIterator[World]:
    """That gateway with an endpoint of the test's own."""
    made = World(Store.open(str(path)), gateway, model, f"e-{uuid.uuid4()}")
    await made.add_endpoint()
    yield made
    await close_clients(made)


@pytest.fixture
async def faults(gateway: GatewayProcess) -> AsyncIterator[FaultClient]:
    """A client of the gateway's faults; none is left to the next test."""
    async with FaultClient(gateway.url) as client:
        yield client
        await client.clear()


async def n_calls(faults: FaultClient) -> int:
    """How many model calls agents have made."""
    return (await faults.state()).requests.get(f"POST {CALL}", 0)


async def test_off_by_default(tmp_path: Path, model: ModelServer) -> None:
    """Without a token /faults is refused like every path, with one it does not exist."""
    path = tmp_path / "store"
    with gateway_process(path) as running:
        made = World(Store.open(str(path)), running, model, "endpoint")
        await made.add_endpoint()
        async with FaultClient(running.url) as stranger:
            with pytest.raises(UsageError, match="answered 401"):
                await stranger.state()
        async with FaultClient(running.url, made.token(await made.open())) as agent:
            with pytest.raises(UsageError, match="answered 404"):
                await agent.add(Fault(path=".*", action=Drop()))


async def test_a_refusal(world: World, faults: FaultClient) -> None:
    """The agent gets the fault's status, and its retry the turn."""
    await faults.add(Fault(method="POST", path=CALL, action=Answer(status=503)))
    before, attempt = await n_calls(faults), await world.open()
    completions = world.client(attempt, max_retries=0).chat.completions
    with pytest.raises(InternalServerError):
        await completions.create(model="any", messages=[{"role": "user", "content": "Hello"}])
    assert world.model.calls == []
    await completions.create(model="any", messages=[{"role": "user", "content": "Hello"}])
    assert await n_calls(faults) == before + 2


async def test_a_lost_answer_is_delivered_again(world: World, faults: FaultClient) -> None:
    """An answer that was dropped is not marked as delivered: the retry gets it without a call."""
    lost = await faults.add(Fault(path=CALL, action=Drop(when="after")))
    before, attempt = await n_calls(faults), await world.open()
    client = world.client(attempt, max_retries=2)
    await client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": "Hello"}]
    )
    assert await faults.hits(lost) == 1
    assert len(world.model.calls) == 1
    assert await n_calls(faults) == before + 2


@pytest.mark.parametrize("delivery", [Delivery.HELD, Delivery.LIVE])
async def test_a_cut_stream(world: World, faults: FaultClient, delivery: Delivery) -> None:
    """A streamed turn is cut in its middle; it is recorded, and not as delivered."""
    await faults.add(Fault(path=CALL, action=Cut(n_bytes=150)))
    attempt = await world.open(delivery=delivery)
    headers = {"Authorization": f"Bearer {world.token(attempt)}"}
    async with httpx.AsyncClient(base_url=world.gateway.url, headers=headers) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(CALL, json=ASKED | {"stream": True})
        again = await http.post(
            CALL, json=ASKED | {"stream": True}, headers={"x-stainless-retry-count": "1"}
        )
    assert "[DONE]" in again.text
    assert len(world.model.calls) == 1


async def test_a_dropped_connection(world: World, faults: FaultClient) -> None:
    """Dropped before, a call never reaches the model."""
    await faults.add(Fault(path=CALL, action=Drop(when="before")))
    client = world.client(await world.open(), max_retries=0)
    with pytest.raises(APIConnectionError):
        await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Hello"}]
        )
    assert world.model.calls == []


async def test_a_late_call(world: World, faults: FaultClient) -> None:
    """A call whose connection was dropped reaches the model later."""
    await faults.add(Fault(path=CALL, action=Late(seconds=0.3)))
    client = world.client(await world.open(), max_retries=0)
    with pytest.raises(APIConnectionError):
        await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Hello"}]
        )
    assert world.model.calls == []
    await world.model.arrived(1)


async def test_an_answer_held_too_long_is_delivered_again(
    world: World, faults: FaultClient
) -> None:
    """A client that gave up waiting gets the recorded turn with its retry."""
    await faults.add(Fault(path=CALL, action=Delay(seconds=3, when="after")))
    headers = {"Authorization": f"Bearer {world.token(await world.open())}"}
    async with httpx.AsyncClient(base_url=world.gateway.url, headers=headers) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(CALL, json=ASKED, timeout=1)
        again = await http.post(CALL, json=ASKED, headers={"x-stainless-retry-count": "1"})
    assert again.status_code == 200
    assert len(world.model.calls) == 1


async def test_model_servers_are_told_whose_call_it_is(world: World) -> None:
    """Each call carries its session and slot."""
    attempt = await world.open()
    client = world.client(attempt)
    for text in ("one", "two"):
        await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": text}]
        )
    told = [(it[SESSION_HEADER], it[SLOT_HEADER]) for it in world.model.headers]
    assert told == [(attempt, "0"), (attempt, "1")]
