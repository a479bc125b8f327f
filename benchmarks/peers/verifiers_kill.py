"""What `verifiers` 0.4 loses and leaves behind when its process is killed in the middle of a run.

The same rollouts several times, on its own `subprocess` runtime against the scripted model: once
let be, then ended by SIGKILL when a share of all turns is answered, and resumed as documented.
Calls are counted by the model server, results read from the peer's own file. Our own side of the
comparison is not here.

    .venv/bin/python benchmarks/peers/verifiers_kill.py [--rollouts 4] [--at-once 8] [--shares 0.5]
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from counted_model import CountedModel, serve_counted
from kills import TASKS, options, slowed_scripts
from leftovers import Mark
from rich.console import Console
from rich.table import Table
from verifiers_peer import ROOT, VerifiersRun, install

from rolldock.errors import RolldockError, UnavailableError
from rolldock.scripted.script import Script

RUN_SECONDS: Final = 600
LATER_SECONDS: Final = 1
"""When the leftover processes are counted: all that ends by itself at once has ended."""
LEFTOVER_SECONDS: Final = 60
"""How long to wait for leftover processes to end by themselves."""


class Leftovers(NamedTuple):
    """What was alive after the kill."""

    n_processes: int = 0
    seconds: float = 0
    """Until the last process was gone by itself, at most `LEFTOVER_SECONDS`."""
    n_left: int = 0
    """Processes that were still alive then."""


class Outcome(NamedTuple):
    """One run, or one killed and resumed run, counted."""

    name: str
    n_rollouts: int
    n_rewarded: int
    """Results with reward 1 in the end."""
    n_finished: int
    """Results saved before the kill."""
    n_redone: int
    """Rollouts that were in work at the kill: their directories stood, without a result."""
    n_answered: int
    n_saved: int
    """Turns in the final results."""
    n_asked_again: int
    leftovers: Leftovers
    n_directories: int
    """Work directories still there at the end of all."""
    seconds: float
    """The peer's own running time; the pause between kill and resume is not in it."""

    def cells(self) -> tuple[str, ...]:
        """The values of the table's row."""
        left = self.leftovers
        processes = f"{left.n_processes} for {left.seconds:.0f} s" if left.n_processes else "0"
        return (
            self.name,
            f"{self.n_rewarded} of {self.n_rollouts}",
            str(self.n_finished),
            str(self.n_redone),
            str(self.n_answered),
            str(self.n_answered - self.n_saved),
            str(self.n_asked_again),
            processes + (f", {left.n_left} stay" if left.n_left else ""),
            str(self.n_directories),
            f"{self.seconds:.1f}",
        )


COLUMNS: Final = (
    "run",
    "reward 1",
    "finished before kill",
    "redone",
    "turns answered",
    "lost",
    "asked again",
    "processes left",
    "directories left",
    "seconds",
)


async def until(
    condition: Callable[[], bool], process: asyncio.subprocess.Process, run: VerifiersRun
) -> None:
    """Wait for a condition while the peer runs.

    Raises:
        UnavailableError: the peer ended first, or took too long.
    """
    deadline = time.monotonic() + RUN_SECONDS
    while not condition():
        if process.returncode is not None or time.monotonic() > deadline:
            raise UnavailableError(f"verifiers did not get as far as it should:\n{run.log_end()}")
        await asyncio.sleep(0.02)


async def finish(process: asyncio.subprocess.Process, run: VerifiersRun) -> None:
    """Wait for the peer's end.

    Raises:
        UnavailableError: it failed or took too long.
    """
    try:
        code = await asyncio.wait_for(process.wait(), RUN_SECONDS)
    except TimeoutError as error:
        raise UnavailableError(f"verifiers did not end in {RUN_SECONDS} s") from error
    if code:
        raise UnavailableError(f"verifiers ended with exit code {code}:\n{run.log_end()}")


async def watch_leftovers(mark: Mark) -> Leftovers:
    """Wait until nothing that carries the mark is alive, or until patience ends."""
    began = time.monotonic()
    await asyncio.sleep(LATER_SECONDS)
    n_processes = len(mark.alive())
    while (left := mark.alive()) and time.monotonic() - began < LEFTOVER_SECONDS:
        await asyncio.sleep(0.1)
    return Leftovers(n_processes, time.monotonic() - began, len(left))


async def measure(
    name: str, given: argparse.Namespace, scripts: dict[str, Script], share: float | None
) -> Outcome:
    """Run the peer once; with a share of the turns, kill it when so many are answered, resume."""
    mark = Mark()
    directory = Path(tempfile.mkdtemp(prefix="rolldock-peer-", dir=ROOT / ".cache" / "peers"))
    async with serve_counted(scripts) as model:
        temporary = directory / "tmp"
        temporary.mkdir()
        run = VerifiersRun(
            directory,
            model=model.address,
            environment={**mark.environment, "TMPDIR": str(temporary)},
            at_once=given.at_once,
        )
        try:
            return await _counted(name, given, model, run, mark, share)
        finally:
            mark.end_all()
            for path in (directory, *run.directories()):
                shutil.rmtree(path)


async def _counted(
    name: str,
    given: argparse.Namespace,
    model: CountedModel,
    run: VerifiersRun,
    mark: Mark,
    share: float | None,
) -> Outcome:
    began = time.monotonic()
    process = await run.start(TASKS, given.rollouts)
    paused_seconds, n_finished, n_redone, leftovers = 0.0, 0, 0, Leftovers()
    if share is not None:
        n_wanted = round(share * model.n_turns(given.rollouts))
        await until(lambda: model.n_answered >= n_wanted, process, run)
        killed_at = time.monotonic()
        process.kill()
        await process.wait()
        n_finished = len(run.episodes())
        n_redone = len(run.directories())
        leftovers = await watch_leftovers(mark)
        paused_seconds = time.monotonic() - killed_at
        process = await run.resume()
    await finish(process, run)
    seconds = time.monotonic() - began - paused_seconds
    episodes = run.episodes()
    return Outcome(
        name=name,
        n_rollouts=given.rollouts * len(TASKS),
        n_rewarded=sum(episode.reward == 1 for episode in episodes),
        n_finished=n_finished,
        n_redone=n_redone,
        n_answered=model.n_answered,
        n_saved=sum(episode.n_turns for episode in episodes),
        n_asked_again=model.n_asked_again(given.rollouts),
        leftovers=leftovers,
        n_directories=len(run.directories()),
        seconds=seconds,
    )


async def compare(given: argparse.Namespace) -> Table:
    """Both runs as a table."""
    await install()
    scripts = slowed_scripts(given.reply_seconds, given.command_seconds)
    table = Table(title=f"verifiers 0.4.0, subprocess runtime, {given.at_once} rollouts at once")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    table.add_row(*(await measure("let be", given, scripts, None)).cells())
    for share in given.shares:
        name = f"killed at {share:.0%}"
        table.add_row(*(await measure(name, given, scripts, share)).cells())
    return table


async def main() -> int:
    """Install the peer, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--command-seconds", type=float, default=0.0, help="added to each command")
    given = parser.parse_args()
    try:
        table = await compare(given)
    except RolldockError as error:
        print(error, file=sys.stderr)  # noqa: T201  a command's error
        return 2
    Console(width=140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
