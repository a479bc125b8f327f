"""What it costs to have an agent in a sandbox: installed, mounted from a warm cache, or uploaded.

For each agent: its install into an empty cache (which needs its registry), and the set-up stage in
fresh sandboxes of a real sandboxd: with that cache mounted, and without a mount, where the agent
comes from the store. Bytes are those of the uploads, requests those that the sandbox API saw.

    .venv/bin/python benchmarks/agents.py [--agents a,b] [--repetitions 5] [--warm] [--json]
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from rolldock.agents.agent import Agent
from rolldock.agents.bash import BASH
from rolldock.agents.registry import agent_names, get_agent
from rolldock.cli.install import install_agent
from rolldock.cli.perform import perform_in_order
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import ADMIN_PATH
from rolldock.harbor.task import Task, read_task
from rolldock.models.agent_archive import machine_name
from rolldock.models.base import Contract
from rolldock.models.failure import Cause
from rolldock.sandbox.agent_archive import AgentArchives, build_of
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.sandbox.setup import set_up
from rolldock.store import agent_archives
from rolldock.store.store import Store
from tests.bare import bare_sandboxd
from tests.rollouts import host_sandbox

ROOT: Final = Path(__file__).parents[1]
TASK: Final = ROOT / "examples" / "tasks" / "hello-world"
MACHINE: Final = machine_name(platform.system(), platform.machine())
MEGABYTE: Final = 1_000_000


class SetUp(Contract):
    """Set-up stages of one kind: medians over the repetitions."""

    seconds: float
    n_bytes: int
    """Uploaded to the sandbox."""
    n_requests: int
    """That the sandbox API saw."""


class Row(Contract):
    """An agent's costs."""

    agent: str
    version: str
    install_seconds: float | None
    """Into an empty cache; None: not measured, or nothing to install."""
    push_seconds: float | None
    """Packing it into the store; None: nothing to install."""
    mounted: SetUp
    uploaded: SetUp | None
    """None: it needs no archive."""


class CountedSandboxes(Sandboxes):
    """Sandboxes that count the bytes of uploads."""

    n_bytes = 0

    async def upload(self, sandbox_id: str, path: str, content: bytes, otherwise: Cause) -> None:
        """Upload as ever."""
        self.n_bytes += len(content)
        await super().upload(sandbox_id, path, content, otherwise)


@dataclass(frozen=True)
class Place:
    """A sandboxd in which agents are set up."""

    sandboxes: CountedSandboxes
    faults: FaultClient
    archives: AgentArchives
    task: Task

    async def measure(self, agent: Agent, repetitions: int) -> SetUp:
        """So many sandboxes, one after the other."""
        each = [await self._once(agent) for _ in range(repetitions)]
        return SetUp(
            seconds=statistics.median(one.seconds for one in each),
            n_bytes=int(statistics.median(one.n_bytes for one in each)),
            n_requests=int(statistics.median(one.n_requests for one in each)),
        )

    async def _once(self, agent: Agent) -> SetUp:
        attempt = str(uuid.uuid4())
        owner = Ownership(deployment="benchmark", rollout="agents", run="1", attempt=attempt)
        sandbox_id, runs = await self.sandboxes.create(host_sandbox(owner))
        await self.sandboxes.wait_until_running(sandbox_id, said_to_run=runs)
        try:
            n_requests, n_bytes = await self._n_requests(), self.sandboxes.n_bytes
            began = time.perf_counter()
            await set_up(
                self.sandboxes,
                sandbox_id,
                self.task,
                agent,
                600,
                attempt=attempt,
                archives=self.archives,
            )
            return SetUp(
                seconds=time.perf_counter() - began,
                n_bytes=self.sandboxes.n_bytes - n_bytes,
                n_requests=await self._n_requests() - n_requests,
            )
        finally:
            await self.sandboxes.delete(sandbox_id)

    async def _n_requests(self) -> int:
        counted = (await self.faults.state()).requests
        return sum(n for route, n in counted.items() if ADMIN_PATH not in route)


async def open_place(exits: AsyncExitStack, url: str, key: str, store: Store) -> Place:
    """A place at a sandboxd's URL."""
    return Place(
        sandboxes=await exits.enter_async_context(CountedSandboxes.open(url, key)),
        faults=await exits.enter_async_context(FaultClient(url, key)),
        archives=AgentArchives(store),
        task=read_task(TASK),
    )


async def timed_install(agent: Agent, cache: Path) -> float:
    """Seconds of an install."""
    began = time.perf_counter()
    await asyncio.to_thread(install_agent, agent, cache)
    return time.perf_counter() - began


async def measure(agents: Sequence[Agent], cache: Path, repetitions: int, warm: bool) -> list[Row]:
    """A row for each agent, on a stack without a worker and a sandboxd without a mount."""
    async with AsyncExitStack() as exits:
        home = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="rolldock-agents-")))
        options = StackOptions(
            home=home / "stack", auto_ports=True, agent_cache=cache, worker=False, faults=True
        )
        stack = await exits.enter_async_context(Stack(options))
        key, store = str(stack.settings.prime_api_key), Store.open(stack.settings.store)
        mounted = await open_place(exits, stack.origin(Port.SANDBOXD), key, store)
        url = await exits.enter_async_context(bare_sandboxd(stack, options, home / "bare"))
        bare = await open_place(exits, url, key, store)
        rows: list[Row] = []
        for agent in agents:
            sys.stderr.write(f"{agent.name} {agent.version}\n")
            install_seconds = await timed_install(agent, cache)
            push_seconds = await timed_push(store, agent, cache)
            has_install = agent.install is not None
            rows.append(
                Row(
                    agent=agent.name,
                    version=agent.version,
                    install_seconds=install_seconds if has_install and not warm else None,
                    push_seconds=push_seconds,
                    mounted=await mounted.measure(agent, repetitions),
                    uploaded=await bare.measure(agent, repetitions) if has_install else None,
                )
            )
        return rows


async def timed_push(store: Store, agent: Agent, cache: Path) -> float | None:
    """Seconds of packing an agent into the store; None: nothing to install."""
    if agent.install is None:
        return None
    began = time.perf_counter()
    home = cache / agent.name / agent.version
    await agent_archives.push(store, home, build_of(agent, MACHINE))
    return time.perf_counter() - began


def table(rows: Sequence[Row], repetitions: int) -> Table:
    """The rows for a reader."""
    made = Table(title=f"an agent in a sandbox (medians of {repetitions} set-up stages)")
    made.add_column("agent")
    made.add_column("version")
    for name in ("install s", "push s", "mounted s", "MB", "requests", "uploaded s", "MB"):
        made.add_column(name, justify="right")
    made.add_column("requests", justify="right")
    for row in rows:
        made.add_row(
            row.agent,
            row.version,
            "-" if row.install_seconds is None else f"{row.install_seconds:.1f}",
            "-" if row.push_seconds is None else f"{row.push_seconds:.1f}",
            *cells(row.mounted),
            *cells(row.uploaded),
        )
    return made


def cells(stage: SetUp | None) -> tuple[str, str, str]:
    """Seconds, megabytes, requests."""
    if stage is None:
        return "-", "-", "-"
    return f"{stage.seconds:.3f}", f"{stage.n_bytes / MEGABYTE:.2f}", str(stage.n_requests)


def wanted(names: str | None) -> list[Agent]:
    """The agents that were asked for; else bash and every one that has an install."""
    if names is not None:
        return [get_agent(name) for name in names.split(",")]
    known = [get_agent(name) for name in agent_names()]
    return [BASH, *(agent for agent in known if agent.install is not None)]


async def main() -> int:
    """Install, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", help="names, separated by commas")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--warm", action="store_true", help="use .cache/agents, install nothing")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    agents = wanted(given.agents)
    with tempfile.TemporaryDirectory(prefix="agents-", dir=ROOT / ".cache") as empty:
        cache = ROOT / ".cache" / "agents" if given.warm else Path(empty)
        rows = await measure(agents, cache, given.repetitions, given.warm)
    if given.json:
        sys.stdout.write(json.dumps([row.model_dump() for row in rows], indent=2) + "\n")
    else:
        Console(width=120).print(table(rows, given.repetitions))
    return 0


if __name__ == "__main__":
    perform_in_order(main())
