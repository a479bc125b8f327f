"""What a rollout costs beside its agent and its tests, next to a workflow that does nothing.

Every rollout runs the `nop` agent on hello-world, so nearly all of its seconds are ours. In the
same run, on the same server, a workflow with as many no-op activities as a rollout has stages is
timed the same way. Quote the ratio: the seconds are this machine's.

    .venv/bin/python benchmarks/overhead.py [--alone 20] [--many 64] [--at-once 16]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from noop import Noop, noop
from rich.console import Console
from rich.table import Table
from temporalio.worker import Worker

from rolldock.cli.perform import perform_in_order
from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.models.result import Status
from rolldock.models.spec import RolloutSpec
from rolldock.trainer.client import Client

ROOT = Path(__file__).parents[1]
TASK = ROOT / "examples" / "tasks" / "hello-world"
NOOP_QUEUE = "rolldock-benchmark-noop"


async def timed(n: int, at_once: int, one: Callable[[], Awaitable[object]]) -> list[float]:
    """Seconds of each of n runs, so many at once; the last entry is the wall clock of all."""
    room = asyncio.Semaphore(at_once)
    seconds: list[float] = []

    async def run() -> None:
        async with room:
            began = time.perf_counter()
            await one()
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(n)))
    return [*sorted(seconds), time.perf_counter() - began]


def quantile(ordered: list[float], share: float) -> float:
    """The nearest-rank quantile of sorted values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(client: Client, alone: int, many: int, at_once: int) -> Table:
    """All four measurements as a table."""
    task = await client.add_task(TASK)

    async def rollout() -> None:
        spec: RolloutSpec = await client.spec(task, agent="nop")
        result = await (await client.start(spec)).result()
        if result.status is not Status.COMPLETED:
            raise RuntimeError(f"a rollout failed: {result.failure}")

    async def empty() -> None:
        await client.temporal.execute_workflow(
            Noop.run, id=f"noop-{uuid.uuid4()}", task_queue=NOOP_QUEUE
        )

    table = Table(title="overhead of a rollout (agent nop, task hello-world)")
    for column in ("at once", "what", "n", "p50 s", "p99 s", "per minute", "x no-op at p50"):
        table.add_column(column, justify="right")
    for room, n in ((1, alone), (at_once, many)):
        await timed(3, 1, rollout)
        await timed(3, 1, empty)
        baseline = await timed(n, room, empty)
        ours = await timed(n, room, rollout)
        median = statistics.median(baseline[:-1])
        for what, seconds in (("no-op workflow", baseline), ("rollout", ours)):
            runs, wall = seconds[:-1], seconds[-1]
            table.add_row(
                str(room),
                what,
                str(n),
                f"{quantile(runs, 0.5):.3f}",
                f"{quantile(runs, 0.99):.3f}",
                f"{n / wall * 60:.0f}",
                f"{statistics.median(runs) / median:.2f}",
            )
    return table


async def main() -> int:
    """Start a stack, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", type=int, default=20, help="rollouts one at a time")
    parser.add_argument("--many", type=int, default=64, help="rollouts at once, in all")
    parser.add_argument("--at-once", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rolldock-bench-", dir=ROOT / ".cache") as home:
        options = StackOptions(
            home=Path(home), auto_ports=True, agent_cache=ROOT / ".cache" / "agents"
        )
        async with Stack(options) as stack:
            client = await Client.connect(stack.settings)
            async with Worker(
                client.temporal, task_queue=NOOP_QUEUE, workflows=[Noop], activities=[noop]
            ):
                table = await measure(client, given.alone, given.many, given.at_once)
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    perform_in_order(main())
