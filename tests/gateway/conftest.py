"""A real gateway process, a real model server, real clients."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from openai import AsyncOpenAI

from rolldock.gateway.config import CONFIG_VARIABLE
from rolldock.gateway.rebuild import Rebuilder
from rolldock.gateway.seal import seal
from rolldock.gateway.session_log import SessionLog
from rolldock.gateway.tokens import sign_session
from rolldock.models.endpoint import Endpoint
from rolldock.models.session import Session
from rolldock.models.spec import Delivery, Limits, Purpose, Sampling
from rolldock.models.trace import Trace
from rolldock.store import endpoints, keys
from rolldock.store.store import Store
from tests.eventually import eventually
from tests.gateway.model_server import ModelServer
from tests.gateway.native_server import KEY, NativeServer
from tests.llama import llama_server

SECRET = b"a secret of this test, long enough to sign with"


@dataclass
class GatewayProcess:
    """A holder with its child."""

    process: "subprocess.Popen[str]"
    url: str

    def child(self) -> int | None:
        """The child's pid, if there is one now."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        return int(found[0]) if found else None

    def kill_child(self) -> int:
        """kill -9 of the child. Returns its pid."""
        child = self.child()
        assert child is not None
        os.kill(child, signal.SIGKILL)
        return child


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"


@contextmanager
def gateway_process(
    store: Path, env: dict[str, str] | None = None, **config: object
) -> Generator[GatewayProcess]:
    """Run `python -m rolldock.gateway`; both processes are gone afterwards."""
    secret_file = store.parent / "secret"
    secret_file.write_bytes(SECRET)
    settings = {
        "store": str(store),
        "secret_file": str(secret_file),
        "end_probe_seconds": 0.1,
        "drain_seconds": 2,
        **config,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "rolldock.gateway"],
        env={**os.environ, **(env or {}), CONFIG_VARIABLE: json.dumps(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), line
        yield GatewayProcess(process, line.split()[-1])
    finally:
        process.terminate()
        process.wait(timeout=15)
        process.stdout.close()


@dataclass
class World:
    """One test's store, model server and gateway."""

    store: Store
    gateway: GatewayProcess
    model: ModelServer
    endpoint: str
    clients: list[AsyncOpenAI] = field(default_factory=list[AsyncOpenAI])

    async def add_endpoint(self, **changes: object) -> Endpoint:
        """A new version of this test's endpoint."""
        record: dict[str, object] = {
            "name": self.endpoint,
            "version": 1,
            "replicas": (self.model.url,),
            "model": "served-model",
            "created_at": datetime.now(UTC),
        }
        return await endpoints.add(self.store, Endpoint.model_validate(record | changes))

    async def open(
        self,
        *,
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        delivery: Delivery = Delivery.HELD,
        purpose: Purpose = Purpose.TRAIN,
        hold_seconds: float = 60,
        lives_seconds: float = 600,
    ) -> str:
        """Open a session. Returns its attempt."""
        attempt = str(uuid.uuid4())
        now = datetime.now(UTC)
        session = Session(
            attempt=attempt,
            rollout="test/rollout",
            endpoint=self.endpoint,
            limits=limits or Limits(),
            sampling=sampling or Sampling(),
            delivery=delivery,
            purpose=purpose,
            hold_seconds=hold_seconds,
            created_at=now,
            expires_at=now + timedelta(seconds=lives_seconds),
        )
        await self.log(attempt).open(session)
        return attempt

    def token(self, attempt: str) -> str:
        """A session's token."""
        return sign_session(SECRET, attempt, datetime.now(UTC) + timedelta(minutes=10))

    def client(self, attempt: str, *, max_retries: int = 2, base: str = "") -> AsyncOpenAI:
        """The official client with the session's token."""
        client = AsyncOpenAI(
            base_url=f"{base or self.gateway.url}/v1",
            api_key=self.token(attempt),
            max_retries=max_retries,
        )
        self.clients.append(client)
        return client

    def log(self, attempt: str) -> SessionLog:
        """A session's log, as another process reads it."""
        return SessionLog(self.store, attempt)

    async def trace(self, attempt: str) -> Trace:
        """The sealed trace of a session."""
        await seal(self.store, attempt, "test/rollout", datetime.now(UTC))
        stored = await self.store.get(keys.trace(attempt))
        assert stored is not None
        return Trace.model_validate_json(stored)

    async def rebuilder(self, attempt: str) -> Rebuilder:
        """What rebuilds the bytes of a session's calls."""
        return Rebuilder(self.store, attempt, (await self.trace(attempt)).turns)

    async def delivered(self, attempt: str, *slots: int) -> None:
        """Wait until the marks of these slots are stored."""

        async def stored() -> bool:
            names = [keys.delivered(attempt, slot) for slot in slots]
            return all([await self.store.get(name) is not None for name in names])

        await eventually(stored)


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that the shared gateway records to."""
    return tmp_path_factory.mktemp("gateway") / "store"


@pytest.fixture(scope="session")
def shared_gateway(store_path: Path) -> Iterator[GatewayProcess]:
    """One gateway for all tests that do not harm it."""
    with gateway_process(store_path, keep_alive_seconds=0.1) as running:
        yield running


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    """A model server of this test's own."""
    server = ModelServer()
    await server.start()
    yield server
    await server.stop()


async def close_clients(world: World) -> None:
    """Close what a test's world has opened."""
    for client in world.clients:
        await client.close()


@pytest.fixture
async def world(
    store_path: Path, shared_gateway: GatewayProcess, model: ModelServer
) -> AsyncIterator[World]:
    """The shared gateway with an endpoint that leads to this test's model server."""
    made = World(Store.open(str(store_path)), shared_gateway, model, f"e-{uuid.uuid4()}")
    await made.add_endpoint()
    yield made
    await close_clients(made)


@asynccontextmanager
async def native_server(world: World) -> AsyncGenerator[NativeServer]:
    """A server that speaks agents' formats, to which a world's endpoint leads."""
    server = NativeServer()
    await server.start()
    await world.add_endpoint(
        replicas=(server.url,),
        native=("anthropic.messages", "openai.responses"),
        api_key=endpoints.encrypt_key(SECRET, KEY),
    )
    yield server
    await server.stop()


@pytest.fixture
async def native(world: World) -> AsyncIterator[NativeServer]:
    """The server that the endpoint of this test's world leads to: it speaks agents' formats."""
    async with native_server(world) as server:
        yield server


@pytest.fixture
async def own_world(tmp_path: Path, model: ModelServer) -> AsyncIterator[World]:
    """A world whose gateway belongs to this test, to be killed."""
    path = tmp_path / "store"
    with gateway_process(path) as running:
        made = World(Store.open(str(path)), running, model, "endpoint")
        await made.add_endpoint()
        yield made
        await close_clients(made)


@pytest.fixture
async def own_native(own_world: World) -> AsyncIterator[NativeServer]:
    """The same for a world whose gateway is to be killed."""
    async with native_server(own_world) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client, for what the official one would never send."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """A real model's server, a process of its own; the base of its chat completions."""
    with llama_server() as url:
        yield url
