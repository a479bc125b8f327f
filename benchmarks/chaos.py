"""Many rollouts while a random process is killed every few seconds and servers misbehave.

First each kind of rollout runs once in peace; then all run under chaos, and every reward must be
the same. Afterwards one sweep of the reaper, with its configured grace, must leave no sandbox.

    .venv/bin/python benchmarks/chaos.py [--rollouts 300] [--at-once 32] [--kill-seconds 4]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chaos_ledger import Ledger, count, sandboxes_made
from chaos_monkey import Monkey
from rich.console import Console
from rich.table import Table

from rolldock.cli.perform import perform_in_order
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.models.reaping import SweepReport
from rolldock.models.result import RolloutResult
from rolldock.models.spec import RolloutSpec
from rolldock.sandbox.client import Sandboxes
from rolldock.trainer.client import Client

ROOT: Final = Path(__file__).parents[1]
EXAMPLES: Final = ROOT / "examples"
TURN_SECONDS: Final = 0.5
"""Of the scripted model: long enough for kills to fall into turns."""
GRACE_SECONDS: Final = 10.0
ATTEMPTS: Final = 10

KINDS: Final = (
    *((task, "bash") for task in sorted((EXAMPLES / "tasks").iterdir())),
    (ROOT / "tests" / "tasks" / "wrong-solution", "oracle"),
)


def scripts(directory: Path) -> Path:
    """The example conversations, played at the speed of a model."""
    for source in sorted((EXAMPLES / "scripts").glob("*.json")):
        script = json.loads(source.read_text())
        for turn in script["turns"]:
            turn["delay_seconds"] = TURN_SECONDS
        (directory / source.name).write_text(json.dumps(script))
    return directory


async def specs(client: Client, n: int, name: str) -> list[RolloutSpec]:
    """n rollouts, all kinds in turn."""
    tasks = [(await client.add_task(task), agent) for task, agent in KINDS]
    made: list[RolloutSpec] = []
    for number in range(n):
        task, agent = tasks[number % len(tasks)]
        made.append(
            await client.spec(
                task,
                agent=agent,
                endpoint=None if agent == "oracle" else "scripted",
                id=f"{name}/{number}",
                attempts=ATTEMPTS,
            )
        )
    return made


async def run(client: Client, wanted: Sequence[RolloutSpec], at_once: int) -> list[RolloutResult]:
    """All results, in the order of the specs."""
    done: dict[str, RolloutResult] = {}
    async for result in client.run(wanted, max_in_flight=at_once):
        done[result.rollout] = result
        sys.stderr.write(f"\r{len(done)} of {len(wanted)} ")
        sys.stderr.flush()
    return [done[spec.id] for spec in wanted]


async def sweep(client: Client) -> tuple[SweepReport, int]:
    """One sweep, when the youngest sandbox is past its grace; and how many are alive after it."""
    if await client.sandboxes():
        await asyncio.sleep(GRACE_SECONDS)
    report = await client.reap()
    return report, len(await client.sandboxes())


def table(
    results: Sequence[RolloutResult],
    expected: Sequence[float | None],
    monkey: Monkey,
    ledger: Ledger,
    report: SweepReport,
    made: int,
    alive: int,
    seconds: float,
) -> Table:
    """The numbers that the run is about."""
    same = sum(result.reward == reward for result, reward in zip(results, expected, strict=True))
    rows: dict[str, object] = {
        "rollouts": len(results),
        "same reward as in peace": same,
        "seconds": f"{seconds:.0f}",
        "kills": f"{monkey.kills.total()} ({_words(monkey.kills)})",
        "faults": f"{monkey.faults.total()} ({_words(monkey.faults)})",
        "attempts": f"{ledger.attempts} (failed ones: {_words(ledger.causes) or 'none'})",
        "re-attachments to a running agent": ledger.re_attachments,
        "turns": ledger.turns,
        "model calls asked again, lost in flight": ledger.calls_again,
        "recorded turns asked again": ledger.recorded_again,
        "sandboxes created": made,
        "deleted or ended by their workflow": made - report.n_deleted - alive,
        "deleted by the reaper": report.n_deleted,
        "alive after one sweep": alive,
    }
    made_table = Table("what", "n", title="rollouts under chaos", show_header=False)
    for name, value in rows.items():
        made_table.add_row(name, str(value))
    return made_table


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))


async def main() -> int:
    """Run it all and print the table; exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--kill-seconds", type=float, default=4)
    parser.add_argument("--fault-seconds", type=float, default=1)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rolldock-chaos-") as home:
        conversations = Path(home) / "scripts"
        conversations.mkdir()
        options = StackOptions(
            home=Path(home) / "stack",
            auto_ports=True,
            agent_cache=ROOT / ".cache" / "agents",
            scripts=scripts(conversations),
            faults=True,
            environment={
                "ROLLDOCK_CREATE_SETTLE_SECONDS": "5",
                "ROLLDOCK_LISTING_LAG_SECONDS": "2",
                "ROLLDOCK_GRACE_SECONDS": str(GRACE_SECONDS),
            },
        )
        async with Stack(options) as stack:
            return await measure(stack, given)


async def measure(stack: Stack, given: argparse.Namespace) -> int:
    """The run in peace, the run under chaos, the sweep, the table."""
    settings = stack.settings.model_copy(update={"heartbeat_seconds": 5})
    client = await Client.connect(settings)
    await client.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
    peace = [one.reward for one in await run(client, await specs(client, len(KINDS), "peace"), 4)]
    monkey = Monkey(stack, client, given.seed)
    wanted = await specs(client, given.rollouts, "chaos")
    began = time.perf_counter()
    async with monkey.let_loose(given.kill_seconds, given.fault_seconds):
        results = await run(client, wanted, given.at_once)
    seconds = time.perf_counter() - began
    report, alive = await sweep(client)
    async with (
        FaultClient(stack.origin(Port.SCRIPTED)) as model,
        Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes,
    ):
        ledger = await count(client, results, await model.journal())
        made = await sandboxes_made(sandboxes, client.deployment)
    expected = [peace[number % len(KINDS)] for number in range(len(results))]
    Console().print(table(results, expected, monkey, ledger, report, made, alive, seconds))
    for result, reward in zip(results, expected, strict=True):
        if result.reward != reward:
            Console().print(f"{result.rollout}: {result.reward} {result.failure}")
    kept = all(one.reward == reward for one, reward in zip(results, expected, strict=True))
    return 0 if kept and alive == 0 and ledger.recorded_again == 0 else 1


if __name__ == "__main__":
    perform_in_order(main())
