"""The same kill as `verifiers_kill.py`, against Rolldock: the same tasks, scripts and counts.

At a share of the turns every process of the stack is ended by SIGKILL at once (worker, gateway,
sandbox server, Temporal), and whoever waited for results is gone too; the stack's supervisor starts
the processes again, and the same rollouts are asked for by their ids, as a restarted trainer would.

    .venv/bin/python benchmarks/peers/rolldock_kill.py [--rollouts 4] [--at-once 8] [--shares 0.5]
"""

import argparse
import asyncio
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from counted_model import CountedModel, serve_counted
from kills import ROOT, TASKS, options, slowed_scripts
from rich.console import Console
from rich.table import Table

from rolldock.cli.perform import perform_in_order
from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.models.result import RolloutResult
from rolldock.models.spec import RolloutSpec
from rolldock.scripted.script import Script
from rolldock.trainer.client import Client

PROCESSES: Final = ("worker", "gateway", "sandboxd", "temporal")
HEARTBEAT_SECONDS: Final = 5.0
COLUMNS: Final = (
    "run",
    "reward 1",
    "finished before kill",
    "redone",
    "turns answered",
    "lost",
    "asked again",
    "sandboxes left",
    "seconds",
)


async def results(
    client: Client, specs: Sequence[RolloutSpec], at_once: int
) -> list[RolloutResult]:
    """Every result; what has been started before is only waited for."""
    return [result async for result in client.run(specs, max_in_flight=at_once)]


async def strike(
    stack: Stack, client: Client, model: CountedModel, specs: Sequence[RolloutSpec], n_turns: int
) -> int:
    """Wait until so many turns are answered, kill everything, and wait until it serves again.

    Returns:
        How many rollouts had their result by then.
    """
    while model.n_answered < n_turns:
        await asyncio.sleep(0.02)
    for process in PROCESSES:
        stack.kill(process)
    finished = [await client.handle(spec.id).stored() for spec in specs]
    for process in PROCESSES:
        await stack.ready(process)
    return sum(result is not None for result in finished)


async def measure(
    stack: Stack,
    client: Client,
    model: CountedModel,
    given: argparse.Namespace,
    share: float | None,
) -> tuple[str, ...]:
    """One run, let be or killed, as a row."""
    model.calls.clear()
    name = uuid.uuid4().hex[:8]
    specs = [
        await client.spec(
            ROOT / "examples" / "tasks" / task,
            agent="bash",
            endpoint="counted",
            id=f"{name}/{task}/{number}",
        )
        for task in TASKS
        for number in range(given.rollouts)
    ]
    began = time.monotonic()
    running = asyncio.create_task(results(client, specs, given.at_once))
    finished = 0
    if share is not None:
        n_turns = round(share * model.n_turns(given.rollouts))
        finished = await strike(stack, client, model, specs, n_turns)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        running = asyncio.create_task(results(client, specs, given.at_once))
    done = await running
    seconds = time.monotonic() - began
    report = await client.reap(grace_seconds=0)
    saved = sum(attempt.trace.n_turns for one in done for attempt in one.attempts if attempt.trace)
    return (
        "let be" if share is None else f"killed at {share:.0%}",
        f"{sum(one.reward == 1 for one in done)} of {len(done)}",
        str(finished),
        str(sum(len(one.attempts) > 1 for one in done)),
        str(model.n_answered),
        str(max(0, model.n_answered - saved)),
        str(model.n_asked_again(given.rollouts)),
        str(report.n_deleted),
        f"{seconds:.1f}",
    )


async def compare(scripts: dict[str, Script], given: argparse.Namespace) -> Table:
    """All runs as a table, on one stack."""
    table = Table(title=f"Rolldock, {given.at_once} rollouts at once")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory(prefix="rolldock-kill-") as home:
        own = StackOptions(home=Path(home), auto_ports=True, agent_cache=ROOT / ".cache" / "agents")
        async with serve_counted(scripts) as model, Stack(own) as stack:
            settings = stack.settings.model_copy(update={"heartbeat_seconds": HEARTBEAT_SECONDS})
            client = await Client.connect(settings)
            await client.add_endpoint("counted", url=f"{model.address}/v1", model="scripted")
            for share in (None, *given.shares):
                table.add_row(*await measure(stack, client, model, given, share))
    return table


async def main() -> int:
    """Measure and print."""
    given = options(__doc__).parse_args()
    Console(width=140).print(await compare(slowed_scripts(given.reply_seconds), given))
    return 0


if __name__ == "__main__":
    perform_in_order(main())
