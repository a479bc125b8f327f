"""What the gateway costs beside its peers: requests a second, latency, processor time, memory.

(a) straight to the model server, (b) a bare aiohttp proxy, (c) this gateway recording to a
directory, (d) LiteLLM's proxy, (e) the interception server of `verifiers` 0.4. The load generator
and the model server, which answers one fixed reply, share one core; the server under test has the
other. Every connection plays sessions of six turns, one request after another, in which the
conversation grows; each session has its own key at (c) and (e), which record.

    .venv/bin/python benchmarks/gateway.py [--quick] [--servers a b c] [--json FILE]

Without naming a part, throughput, `--live`, `--open-calls 1000` and `--session` all run.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any, Final, cast

from gateway_cells import Cell, Loader, Shape, Upstream, measure_cell
from gateway_extras import first_tokens, long_session, open_calls
from gateway_report import (
    as_json,
    first_token_table,
    open_calls_table,
    session_table,
    throughput_table,
)
from gateway_servers import SERVERS, Server
from rich.console import Console

from rolldock.cli.perform import perform_in_order

_KB: Final = 1024
_QUICK_SECONDS: Final = 0.5


class Bench:
    """One run on a model server of its own."""

    def __init__(self, given: argparse.Namespace, directory: Path, out: Console) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._core = cores[-1]
        """Of the server under test; the first one is the load's."""
        self._given = given
        self._directory = directory
        self._out = out
        self._loader = Loader(cores[0], directory)
        self._upstream = Upstream(cores[0], directory)
        self.found: dict[str, Any] = {}

    async def run(self) -> None:
        """Measure what is asked for, and print each table when it is there.

        Raises:
            UnavailableError: a server does not start, or does not give the reply.
        """
        given = self._given
        everything = not (given.throughput or given.live or given.open_calls or given.session)
        await self._upstream.start()
        try:
            if everything or given.throughput:
                await self._throughput()
            if everything or given.live:
                await self._live()
            if everything or given.open_calls:
                await self._open_calls(given.open_calls or 1000)
            if everything or given.session:
                await self._session()
        finally:
            self._upstream.end()

    async def _throughput(self) -> None:
        cells: list[Cell] = []
        for kind in SERVERS:
            if kind.letter in self._given.servers:
                cells.extend(await self._cells_of(kind))
        self.found["throughput"] = as_json(cells)
        self._out.print(throughput_table(cells))

    async def _cells_of(self, kind: type[Server]) -> list[Cell]:
        given = self._given
        server = kind(self._upstream.port, self._core, self._place(kind.name))
        cells: list[Cell] = []
        try:
            await server.start()
            shapes = product(given.kilobytes, given.streamed, given.connections)
            for kilobytes, streamed, n_connections in shapes:
                shape = Shape(kilobytes * _KB, streamed == "streamed", n_connections)
                cell = await measure_cell(
                    self._loader, server, shape, self._seconds, self._repetitions
                )
                _say(f"{server.name}: {shape}: {cell.requests_per_second:,.0f} requests/s")
                cells.append(cell)
        finally:
            server.end()
        return cells

    async def _live(self) -> None:
        place = self._place("live")
        cells = await first_tokens(self._loader, self._upstream, self._core, place, self._seconds)
        self.found["live"] = as_json(cells)
        self._out.print(first_token_table(cells))

    async def _open_calls(self, n_calls: int) -> None:
        found = [
            await open_calls(
                self._loader,
                self._upstream,
                self._core,
                self._place(f"open-{kilobytes}"),
                n_calls,
                kilobytes * _KB,
            )
            for kilobytes in self._given.kilobytes
        ]
        self.found["open_calls"] = as_json(found)
        self._out.print(open_calls_table(found))

    async def _session(self) -> None:
        size = await long_session(self._core, self._place("session"))
        kept = size._replace(summary=size.summary.model_dump(mode="json"))
        self.found["session"] = kept._asdict()
        self._out.print(session_table(size))

    @property
    def _seconds(self) -> float:
        return _QUICK_SECONDS if self._given.quick else self._given.seconds

    @property
    def _repetitions(self) -> int:
        return 1 if self._given.quick else self._given.repetitions

    def _place(self, name: str) -> Path:
        place = self._directory / name
        place.mkdir()
        return place


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", nargs="*", default=list("abcde"), choices=list("abcde"))
    parser.add_argument("--kilobytes", type=int, nargs="*", default=[2, 100])
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 32])
    parser.add_argument(
        "--streamed", nargs="*", default=["whole", "streamed"], choices=["whole", "streamed"]
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="per cell and repetition")
    parser.add_argument("--repetitions", type=int, default=3, help="of which the median counts")
    parser.add_argument("--quick", action="store_true", help="half a second per cell, once")
    parser.add_argument("--throughput", action="store_true", help="only this, or with the others")
    parser.add_argument("--live", action="store_true", help="the first token's delay")
    parser.add_argument("--open-calls", type=int, metavar="N", help="memory with N open calls")
    parser.add_argument("--session", action="store_true", help="size and seal of a long session")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--directory", type=Path, help="where to record; a temporary one")
    return parser.parse_args()


def allow_connections() -> None:
    """Raise the limit on open files, which the processes inherit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def main() -> int:
    """Run it in a directory that is gone afterwards. Returns the exit code."""
    given = arguments()
    allow_connections()
    with tempfile.TemporaryDirectory(prefix="rolldock-gateway-", dir=given.directory) as directory:
        bench = Bench(given, Path(directory), Console(width=130))
        await bench.run()
    if given.json is not None:
        cast(Path, given.json).write_text(json.dumps(bench.found, indent=1) + "\n")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  progress and errors


if __name__ == "__main__":
    perform_in_order(main())
