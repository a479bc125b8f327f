"""What a thousand waiting rollouts cost: polls, heartbeats and processor time while agents work.

Every rollout has a sandbox and a session of its own, and an agent that does nothing in it: a small
one, so that one machine has room for all. Once all of them wait, requests are counted for a while:
at the sandbox API by route, at Temporal by operation.

    .venv/bin/python benchmarks/traffic.py [--rollouts 1000] [--seconds 60]
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.table import Table

from rolldock.cli.perform import perform_in_order
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.ports import free_port
from rolldock.cli.stack.processes import children_of
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.trainer.client import Client

ROOT: Final = Path(__file__).parents[1]
TASK: Final = ROOT / "examples" / "tasks" / "hello-world"
PROCESSES: Final = ("worker", "sandboxd", "temporal", "gateway")
STARTS_AT_ONCE: Final = 50

_REQUEST: Final = re.compile(
    r'^temporal_request\{[^}]*operation="(\w+)"[^}]*\} (\S+)$', re.MULTILINE
)
_TICKS: Final = os.sysconf("SC_CLK_TCK")


async def temporal_requests(metrics: str) -> Counter[str]:
    """Requests that the worker has sent to Temporal so far, by operation."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://{metrics}/metrics")).text
    found: Counter[str] = Counter()
    for operation, value in _REQUEST.findall(text):
        found[operation] += int(float(value))
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its living descendants."""
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(own[11]) + int(own[12])) / _TICKS
    return seconds + sum(cpu_seconds(child) for child in children_of(pid))


async def begin(client: Client, n: int) -> None:
    """Start them all and wait until every one of them awaits its agent."""
    task = await client.add_task(TASK)
    slots = asyncio.Semaphore(STARTS_AT_ONCE)

    async def start(number: int) -> None:
        async with slots:
            spec = await client.spec(
                task,
                agent="command",
                agent_options={"run": "exec sleep 86400"},
                endpoint="scripted",
                id=f"traffic/{number}",
                # The first ones wait for as long as it takes to bring up the last.
                limits={"agent_seconds": 7200},
            )
            await client.start(spec)

    await asyncio.gather(*(start(number) for number in range(n)))
    query = "RolldockStage = 'await_agent' AND ExecutionStatus = 'Running'"
    while (waiting := (await client.temporal.count_workflows(query)).count) < n:
        sys.stderr.write(f"\r{waiting} of {n} wait ")
        await asyncio.sleep(1)


async def end(client: Client, n: int) -> None:
    """Cancel them all and wait for their results."""
    slots = asyncio.Semaphore(STARTS_AT_ONCE)

    async def cancel(number: int) -> None:
        async with slots:
            await client.handle(f"traffic/{number}").cancel()

    await asyncio.gather(*(cancel(number) for number in range(n)))
    await asyncio.gather(*(client.handle(f"traffic/{number}").result() for number in range(n)))


def table(title: str, rates: Mapping[str, float], unit: str) -> Table:
    """Rates, the largest first."""
    made = Table("what", unit, title=title)
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        if rate > 0:
            made.add_row(name, f"{rate:.2f}")
    return made


async def measure(stack: Stack, metrics: str, n: int, seconds: float) -> None:
    """Count for a while, and print."""
    client = await Client.connect(stack.settings)
    await client.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
    began = time.perf_counter()
    await begin(client, n)
    started_seconds = time.perf_counter() - began
    key = stack.settings.prime_api_key
    async with FaultClient(stack.origin(Port.SANDBOXD), key) as sandboxd:
        await asyncio.sleep(seconds)  # until polls have backed off
        before = (await sandboxd.state()).requests, await temporal_requests(metrics)
        cpu = {name: cpu_seconds(stack.processes[name]) for name in PROCESSES}
        await asyncio.sleep(seconds)
        after = (await sandboxd.state()).requests, await temporal_requests(metrics)
        cpu = {name: cpu_seconds(stack.processes[name]) - cpu[name] for name in PROCESSES}
    began = time.perf_counter()
    await end(client, n)
    ended_seconds = time.perf_counter() - began
    rates = [
        {name: (now.get(name, 0) - then.get(name, 0)) / seconds for name in now}
        for now, then in zip(after, before, strict=True)
    ]
    out = Console()
    out.print(table(f"sandbox API, {n} rollouts waiting", rates[0], "requests a second"))
    out.print(table("Temporal, from the worker", rates[1], "requests a second"))
    shares = {name: used / seconds for name, used in cpu.items()}
    out.print(table("processor time, with children", shares, "cores"))
    out.print(f"all waiting after {started_seconds:.0f} s; all cancelled in {ended_seconds:.0f} s")


async def main() -> int:
    """Run it on a stack of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    metrics = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="rolldock-traffic-") as home:
        options = StackOptions(
            home=Path(home) / "stack",
            auto_ports=True,
            agent_cache=ROOT / ".cache" / "agents",
            scripts=ROOT / "examples" / "scripts",
            faults=True,
            environment={
                "ROLLDOCK_METRICS_ADDRESS": metrics,
                "ROLLDOCK_MAX_LIVE_SANDBOXES": str(given.rollouts + 10),
                "ROLLDOCK_CREATES_PER_SECOND": "50",
            },
        )
        async with Stack(options) as stack:
            await measure(stack, metrics, given.rollouts, given.seconds)
    return 0


if __name__ == "__main__":
    perform_in_order(main())
