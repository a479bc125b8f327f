"""What the matrix runs on: its endpoints, its agents, and the lines of its table."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from rolldock.agents.agent import Agent
from rolldock.agents.registry import agent_names, get_agent
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.scripted.script import load_scripts
from rolldock.scripted.server import serve
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.e2e.agents_matrix.matrix_table import Row, written
from tests.e2e.agents_matrix.scenes import CHAT_ONLY, ENDPOINTS, FLAKY, FORMATS

AGENTS = [
    name
    for name in agent_names()
    if get_agent(name).install and get_agent(name).dialect is not None
]
"""Those that are installed from a registry and call a model."""

_ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """The table's lines, in the order in which they come."""
    return request.config.stash.setdefault(_ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    stash = terminalreporter.config.stash
    if _ROWS in stash:
        terminalreporter.section("every agent in every scene")
        terminalreporter.write_line(written(stash[_ROWS]))


@pytest.fixture(scope="module", params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Agent:
    """An agent that is installed in the cache of the stack."""
    known = get_agent(str(request.param))
    installed(known.name)
    return known


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def endpoints(stack: Stack, client: Client) -> None:
    """Every endpoint of the scenes, but that with faults."""
    for name, model in ENDPOINTS.items():
        await client.add_endpoint(name, url=stack.scripted_url, model=model, native=FORMATS)
    await client.add_endpoint(CHAT_ONLY, url=stack.scripted_url, model="scripted", native=())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def faults(client: Client, scripts: Path) -> AsyncGenerator[FaultClient, None]:
    """What the server of the endpoint with faults is told by."""
    async with (
        serve(load_scripts(scripts), faults=True) as address,
        FaultClient(address) as told,
    ):
        await client.add_endpoint(FLAKY, url=f"{address}/v1", model="scripted", native=FORMATS)
        yield told
