"""Every example task on a stack of its own, with up to three agents: what `make demo` runs.

The model is scripted: a server that plays the conversations of `examples/scripts`. Ends with
nothing left running, and with exit code 0 only when every reward is 1.
"""

import asyncio
import shutil
import signal
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Final

from rolldock.cli.console import console
from rolldock.cli.perform import INTERRUPTED, complain, perform
from rolldock.cli.results import results_table
from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.processes import processes_of
from rolldock.cli.stack.stack import Stack
from rolldock.models.result import RolloutResult
from rolldock.models.spec import Purpose
from rolldock.settings import Settings, home
from rolldock.trainer.client import Client

EXAMPLES: Final = Path(__file__).parent
AGENTS: Final = ("opencode", "bash", "oracle")
"""The slowest first: the others fill what it leaves of the machine."""
OPENCODE_TASKS: Final = ("fix-python-bug", "hello-world")
"""It takes ten seconds of both cores for each, to no more insight."""
ENDPOINT: Final = "scripted"
MAX_IN_FLIGHT: Final = 6
GONE_SECONDS: Final = 30.0
"""For the last sandbox: results are written while its deletion runs."""


async def main() -> int:
    """The demo, ended in order by Ctrl-C or SIGTERM; again changes nothing, it takes seconds."""
    running = asyncio.create_task(demo())
    asked = asyncio.Event()

    def ask() -> None:
        if not asked.is_set():
            asked.set()
            complain("ending: the stack and its sandboxes go")
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ask)
    try:
        return await running
    except asyncio.CancelledError:
        if not asked.is_set():
            raise
        return INTERRUPTED


async def demo() -> int:
    """Run it all. Returns the exit code."""
    own_home = home() / "demo"
    options = StackOptions(
        home=own_home,
        auto_ports=True,
        agent_cache=Settings.load().agent_cache,
        scripts=EXAMPLES / "scripts",
    )
    await clear(own_home, options)
    started_at = time.monotonic()
    say(f"starting a stack in {own_home}")
    async with Stack(options, complain) as stack:
        say(f"ready after {time.monotonic() - started_at:.1f} s: {', '.join(stack.processes)}")
        client = await Client.connect(stack.settings)
        await client.add_endpoint(ENDPOINT, url=stack.scripted_url, model=ENDPOINT)
        results = await run_all(client)
        sandboxes = await left_sandboxes(client)
    problems = [
        *(f"{result.rollout}: {why(result)}" for result in results if result.reward != 1),
        *(f"sandbox {sandbox} is still alive" for sandbox in sandboxes),
        *(f"process {pid} still runs: {what}" for pid, what in processes_of(own_home).items()),
    ]
    console().print(results_table(results))
    say(f"{len(results)} rollouts, {time.monotonic() - started_at:.1f} s")
    for problem in problems:
        complain(problem)
    if problems:
        complain(f"the logs are in {own_home / 'logs'}")
        return 1
    shutil.rmtree(own_home, ignore_errors=True)
    return 0


async def clear(own_home: Path, options: StackOptions) -> None:
    """Remove what an earlier demo left.

    One that was killed left sandboxes: a stack of the same home adopts and ends them. One that
    still runs holds the home's lock, which is an error.
    """
    if processes_of(own_home):
        async with Stack(options.model_copy(update={"worker": False}), complain):
            pass
    shutil.rmtree(own_home, ignore_errors=True)


async def run_all(client: Client) -> list[RolloutResult]:
    """Every task with its agents, a line for each that ends; in the order of their ids."""
    directories = sorted(path.parent for path in (EXAMPLES / "tasks").glob("*/task.toml"))
    tasks = {directory.name: await client.add_task(directory) for directory in directories}
    specs = [
        await client.spec(
            task,
            agent=agent,
            endpoint=None if agent == "oracle" else ENDPOINT,
            id=f"demo/{name}/{agent}",
            image="host",
            experiment="demo",
            purpose=Purpose.EVAL,
        )
        for agent in AGENTS
        for name, task in tasks.items()
        if agent != "opencode" or name in OPENCODE_TASKS
    ]
    results: list[RolloutResult] = []
    async with aclosing(client.run(specs, max_in_flight=MAX_IN_FLIGHT)) as finished:
        async for result in finished:
            results.append(result)
            say(f"[{len(results)}/{len(specs)}] {result.rollout}: {why(result)}")
    return sorted(results, key=lambda result: result.rollout)


async def left_sandboxes(client: Client) -> list[str]:
    """The sandboxes that are still alive once the deletions have had their time."""
    deadline = time.monotonic() + GONE_SECONDS
    while alive := await client.sandboxes():
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    return [found.sandbox.id for found in alive]


def why(result: RolloutResult) -> str:
    """The reward, or what kept it away."""
    if result.failure is not None:
        return f"{result.status}: {result.failure.cause}: {result.failure.message}"
    return f"reward {result.reward}"


def say(line: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    perform(main())
