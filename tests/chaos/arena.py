"""A stack to strike at: two workers that ask the harness, faults on, short patience.

Two workers, so that a rollout whose worker dies or stalls goes on elsewhere. Plays no case.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from rolldock.cli.stack.child import Child
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.program import Program
from rolldock.cli.stack.programs import CHECKOUT
from rolldock.cli.stack.stack import Stack
from rolldock.errors import UnavailableError
from rolldock.faults.client import FaultClient
from rolldock.settings import HOME_VARIABLE
from rolldock.trainer.client import Client
from tests.chaos.holds import SOCKET_VARIABLE, Holds
from tests.chaos.tunnel import Tunnel
from tests.chaos.worker import READY

HEARTBEAT_SECONDS: Final = 2.0
"""A silent worker is given up so soon."""
SETTLE_SECONDS: Final = 2.0
"""How late a lost create may take effect."""
LAG_SECONDS: Final = 2.0
"""How late a list may be."""
ENDPOINT: Final = "scripted"
_WORKERS: Final = ("worker-a", "worker-b")


class Arena:
    """The stack, its workers and the ways to reach them."""

    def __init__(self, stack: Stack, workers: dict[str, Child], holds: Holds) -> None:
        self.stack = stack
        self.holds = holds
        self.client: Client
        self.tunnel: Tunnel | None = None
        """What agents reach the gateway through; None: they reach it directly."""
        self._workers = workers
        self.sandboxd = FaultClient(stack.origin(Port.SANDBOXD), stack.settings.prime_api_key)
        self.gateway = FaultClient(stack.origin(Port.GATEWAY))
        self.model = FaultClient(stack.origin(Port.SCRIPTED))

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Self]:
        """With its clients, which are as patient as the stack's processes are."""
        settings = self.stack.settings.model_copy(
            update={
                "heartbeat_seconds": HEARTBEAT_SECONDS,
                "create_settle_seconds": SETTLE_SECONDS,
                "listing_lag_seconds": LAG_SECONDS,
            }
        )
        self.client = await Client.connect(settings)
        await self.client.add_endpoint(ENDPOINT, url=self.stack.scripted_url, model=ENDPOINT)
        async with self.sandboxd, self.gateway, self.model:
            yield self

    async def heal(self) -> None:
        """Wait until every process serves, and take all faults back."""
        await self.ready()
        for server in (self.sandboxd, self.gateway, self.model):
            await server.clear()
        await self.sandboxd.lag_listing(0)

    def worker(self, pid: int) -> Child:
        """The worker that is this process.

        Raises:
            UnavailableError: it has ended.
        """
        for child in self._workers.values():
            if child.pid == pid:
                return child
        raise UnavailableError(f"no worker has the process {pid} any more")

    async def ready(self) -> None:
        """Wait until every process serves."""
        async with asyncio.TaskGroup() as group:
            for child in self._workers.values():
                group.create_task(child.ready())
            for name in ("temporal", "gateway", "sandboxd", "scripted"):
                group.create_task(self.stack.ready(name))


@asynccontextmanager
async def arena(
    home: Path,
    scripts: Path,
    say: Callable[[str], None],
    worker_variables: Mapping[str, str] = MappingProxyType({}),
) -> AsyncGenerator[Arena]:
    """The stack, while the block runs."""
    environment = {
        "ROLLDOCK_HEARTBEAT_SECONDS": f"{HEARTBEAT_SECONDS:g}",
        "ROLLDOCK_CREATE_SETTLE_SECONDS": f"{SETTLE_SECONDS:g}",
        "ROLLDOCK_LISTING_LAG_SECONDS": f"{LAG_SECONDS:g}",
        "ROLLDOCK_STICKY_SECONDS": f"{HEARTBEAT_SECONDS:g}",
    }
    options = StackOptions(
        home=home,
        auto_ports=True,
        agent_cache=home / "agents",
        scripts=scripts,
        worker=False,
        faults=True,
        environment=environment,
    )
    socket = home / "chaos.sock"
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(Stack(options, say))
        holds = await exits.enter_async_context(Holds.listening(socket))
        where = {HOME_VARIABLE: str(home), SOCKET_VARIABLE: str(socket)}
        env = _variables() | environment | where | dict(worker_variables)
        children: dict[str, Child] = {}
        for name in _WORKERS:
            program = Program(
                name=name,
                command=(sys.executable, "-m", "tests.chaos.worker"),
                env=env,
                ready_line=READY,
                stop_seconds=1,
            )
            children[name] = Child(program, stack.home.logs, CHECKOUT, say)
            exits.push_async_callback(children[name].stop)
        await asyncio.gather(*(child.start() for child in children.values()))
        yield await exits.enter_async_context(Arena(stack, children, holds).connected())


def _variables() -> dict[str, str]:
    """Ours, without those that speak of another deployment: the rest is in the home's stack.env."""
    foreign = ("PRIME_", "TEMPORAL_", "ROLLDOCK_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return own | {"PYTHONUNBUFFERED": "1"}
