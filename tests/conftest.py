"""One stack for all tests that need one: real servers on ports that the system chose.

Tests that use it run on the session's event loop, to which its connections belong.
"""

import os
import shutil
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.trainer.client import Client
from tests.agent_cache import AGENT_CACHE

# Settings of the one who runs the tests lead to another deployment, or another cache.
for name in [name for name in os.environ if name.startswith(("ROLLDOCK_", "PRIME_", "TEMPORAL_"))]:
    if name not in {"ROLLDOCK_AGENT_CACHE", "ROLLDOCK_SCREENSHOTS"}:
        del os.environ[name]

# Shells start what they run in the background with Ctrl-C ignored, and every child that a test
# presses it at would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
SETTLE_SECONDS = "2"
"""How late a lost create may take effect: patience that only tests can afford to lose."""


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples' conversations and the tests' own, in one directory."""
    directory = tmp_path_factory.mktemp("scripts")
    for source in (ROOT / "examples" / "scripts", ROOT / "tests" / "scripts"):
        for script in source.glob("*.json"):
            shutil.copy(script, directory)
    return directory


@pytest.fixture(scope="session")
def stack_options(
    scripts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[bool], StackOptions]:
    """Options of a stack in a home of its own; the argument says whether it runs a worker."""

    def options(worker: bool) -> StackOptions:
        return StackOptions(
            home=tmp_path_factory.mktemp("home"),
            auto_ports=True,
            agent_cache=AGENT_CACHE,
            scripts=scripts,
            worker=worker,
            environment={
                "ROLLDOCK_CREATE_SETTLE_SECONDS": SETTLE_SECONDS,
                "ROLLDOCK_LISTING_LAG_SECONDS": "0",
                "ROLLDOCK_STICKY_SECONDS": "2",
            },
        )

    return options


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(
    stack_options: Callable[[bool], StackOptions],
) -> AsyncGenerator[Stack, None]:
    """A whole stack with its worker."""
    async with Stack(stack_options(True)) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(stack: Stack) -> Client:
    """A client of the stack with the endpoint `scripted`."""
    # A silent worker is given up after five seconds: patience that production has more of.
    hasty = stack.settings.model_copy(update={"heartbeat_seconds": 5})
    connected = await Client.connect(hasty)
    await connected.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
    return connected
