"""Fixtures: a shared sandboxd, one of the test's own, and clients with a HOME of their own."""

import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prime_sandboxes import AsyncSandboxClient

from tests.sandboxd.support import (
    API_KEY,
    CHECKOUT,
    Connect,
    Gateway,
    Sdk,
    Server,
    end_completely,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here makes namespaces and mounts."""
    if os.geteuid() != 0:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="sandboxd on bubblewrap needs root"))


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """A TCP server where sandboxes expect the gateway."""
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, gateway: Gateway) -> Iterator[Server]:
    """The sandboxd that most tests share."""
    shared = Server(tmp_path_factory.mktemp("shared") / "state", gateway.port, hidden=(CHECKOUT,))
    shared.start()
    yield shared
    end_completely(shared)


@pytest.fixture
def own_server(tmp_path: Path, gateway: Gateway) -> Iterator[Server]:
    """A sandboxd of the test's own, not started yet."""
    own = Server(tmp_path / "state", gateway.port)
    yield own
    end_completely(own)


@pytest.fixture
async def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    """Makes clients; the SDK keeps a cache in HOME, so each test has its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    async with AsyncExitStack() as stack:

        async def make(server: Server) -> Sdk:
            client = await stack.enter_async_context(AsyncSandboxClient(api_key=API_KEY))
            client.client.base_url = server.url
            return Sdk(client)

        yield make


@pytest.fixture
async def sdk(server: Server, connect: Connect) -> Sdk:
    """A client of the shared server."""
    return await connect(server)


@pytest.fixture
async def sandbox(sdk: Sdk) -> AsyncIterator[str]:
    """A sandbox of the shared server."""
    made = await sdk.create()
    yield made.id
    await sdk.client.delete(made.id)
