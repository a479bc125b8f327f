"""How long the index of many results takes: the cache, and whole commands with it.

`python -m benchmarks.index [N]` writes N entries (10,000 unless said) into a store in a temporary
directory, and times the first refresh, a warm one, a page, all entries, statistics, and completion
and `rolldock ls --json` as commands, these beside a stack where ROLLDOCK_BENCH_TEMPORAL has the
address of a Temporal server. Prints one line for each; judges none.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console

from rolldock.index.cache import IndexCache
from rolldock.index.place import cache_file
from rolldock.index.query import Query
from rolldock.index.stats import count
from rolldock.models.result import IndexEntry, Status, StopReason
from rolldock.store import keys
from rolldock.store.store import Store

_N_ENTRIES: Final = 10_000
_MINUTES_APART: Final = 3
"""So 10,000 span three weeks."""
_REPEATS: Final = 5
_TEMPORAL: Final = "ROLLDOCK_BENCH_TEMPORAL"
_ROLLDOCK: Final = Path(sys.executable).with_name("rolldock")


def entry(number: int, now: datetime) -> IndexEntry:
    """A result like those of a small experiment: one in seven has failed."""
    is_failed = number % 7 == 0
    return IndexEntry(
        rollout=f"grpo/{number // 64}/task-{number % 50}/{number}",
        experiment=f"grpo-{number % 5}",
        group=f"group-{number // 8}",
        task=f"task-{number % 50}",
        agent=("bash", "opencode")[number % 2],
        endpoint="qwen",
        status=Status.FAILED if is_failed else Status.COMPLETED,
        stop_reason=StopReason.INFRASTRUCTURE if is_failed else StopReason.AGENT_COMPLETED,
        cause="sandbox_lost" if is_failed else None,
        failed_in="await_agent" if is_failed else None,
        reward=None if is_failed else float(number % 3 == 0),
        n_turns=number % 40,
        input_tokens=number * 17 % 90_000,
        output_tokens=number * 7 % 9_000,
        seconds=number % 900 + 0.5,
        ended_at=now - timedelta(minutes=_MINUTES_APART * number),
    )


async def fill(store: Store, n_entries: int) -> None:
    """Write the entries as seals do."""
    now = datetime.now(UTC)
    for number in range(n_entries):
        one = entry(number, now)
        name = keys.index(one.ended_at, one.experiment, one.rollout)
        await store.create(name, one.model_dump_json().encode())


def say(what: str, seconds: float) -> None:
    """One line of the table."""
    Console().print(f"{what:<44}{seconds * 1000:>10.1f} ms", highlight=False)


async def timed(what: str, act: Callable[[], Awaitable[object]]) -> None:
    """Time something that waits, once."""
    started = time.perf_counter()
    await act()
    say(what, time.perf_counter() - started)


def best(what: str, act: Callable[[], object]) -> None:
    """The shortest time of a few: the others are the machine's."""
    times: list[float] = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    say(what, min(times))


def run(arguments: list[str | Path], environment: Mapping[str, str]) -> None:
    """A command to its end; it must succeed."""
    subprocess.run(arguments, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60)


def time_commands(home: Path) -> None:
    """What a person waits for, Python's start included."""
    environment = {"ROLLDOCK_HOME": str(home), "PATH": os.environ["PATH"]}
    best("python -c pass", lambda: run([sys.executable, "-c", "pass"], environment))
    best("rolldock --help", lambda: run([_ROLLDOCK, "--help"], environment))
    complete = environment | {
        "_ROLLDOCK_COMPLETE": "complete_bash",
        "COMP_WORDS": "rolldock show grpo/1",
        "COMP_CWORD": "2",
    }
    best("completion of an id", lambda: run([_ROLLDOCK], complete))
    address = os.environ.get(_TEMPORAL)
    if address is not None:
        beside = environment | {"TEMPORAL_ADDRESS": address}
        best("rolldock ls --json", lambda: run([_ROLLDOCK, "ls", "--json"], beside))
        everything: list[str | Path] = [_ROLLDOCK, "ls", "--json", "--limit", "0"]
        best("rolldock ls --json --limit 0", lambda: run(everything, beside))
        best("rolldock stats", lambda: run([_ROLLDOCK, "stats"], beside))


async def measure(home: Path, n_entries: int) -> None:
    """All of it, in a home of its own."""
    store = Store.open(str(home / "store"))
    await fill(store, n_entries)
    path = cache_file(home / "cache", store.where)
    with closing(IndexCache.open(store, path)) as cache:
        await timed(f"first refresh, {n_entries} entries", cache.refresh)
        await timed("warm refresh", cache.refresh)
        best("first page of 50", lambda: cache.find(Query(limit=50)))
        sorted_page = Query(limit=50, offset=200, sort="-reward", agent="bash", text="task-1")
        best("a page by reward, filtered", lambda: cache.find(sorted_page))
        best("count of a filter", lambda: cache.count(Query(cause="sandbox_lost")))
        best("all entries", lambda: cache.find(Query()))
        best("stats by task and agent", lambda: count(cache.find(Query()), ["task"], [1, 8], 1))
    time_commands(home)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rolldock-index-") as directory:
        asyncio.run(measure(Path(directory), int(sys.argv[1]) if len(sys.argv) > 1 else _N_ENTRIES))
