"""`rolldock stats`: what many ended rollouts come to, out of the index alone."""

from collections.abc import Sequence
from typing import Final

import typer
from rich.table import Table

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, number, print_table, seconds, table
from rolldock.cli.filters import Filters
from rolldock.errors import UsageError
from rolldock.index.stats import GROUPINGS, Stats, count
from rolldock.models.result import IndexEntry

DEFAULT_BY: Final = ("task", "agent")
DEFAULT_KS: Final = (1, 8)
_COUNTS: Final = ("n", "graded", "failed", "cancelled", "reward")
_COSTS: Final = ("tokens in", "tokens out", "median s", "p90 s")


async def stats(
    filters: Filters,
    *,
    by: Sequence[str] = DEFAULT_BY,
    ks: Sequence[int] = DEFAULT_KS,
    threshold: float = 1,
    replays: bool = False,
    as_json: bool = False,
) -> int:
    """Print a row for each combination of the names that are asked for, or a JSON line.

    Rewards are of graded rollouts alone: those that failed or were cancelled are counted apart.

    Args:
        replays: count replays too. They repeat what their origin has counted for already, so they
            are left out unless their origin is named.

    Raises:
        UsageError: a filter or `by` names what there is not.
    """
    unknown = [name for name in by if name not in GROUPINGS]
    if unknown:
        raise UsageError(f"--by {unknown[0]}: count by {', '.join(GROUPINGS)}")
    query = filters.ended()
    if query is None:
        raise UsageError("--status running: only ended rollouts are counted; see `rolldock watch`")
    async with connected() as client, client.index() as index:
        entries = index.find(query)
    if not replays and query.replay_of is None:
        entries = _originals(entries)
    rows = count(entries, tuple(dict.fromkeys(by)), ks, threshold)
    if as_json:
        for row in rows:
            typer.echo(row.model_dump_json())
    else:
        print_table(_table(rows, by, ks))
    return 0


def _originals(entries: list[IndexEntry]) -> list[IndexEntry]:
    found = [entry for entry in entries if entry.replay_of is None]
    n_replays = len(entries) - len(found)
    if n_replays:
        typer.echo(f"left out: {n_replays} replays; --replays counts them", err=True)
    return found


def _table(rows: list[Stats], by: Sequence[str], ks: Sequence[int]) -> Table:
    passes = tuple(f"pass@{k}" for k in ks)
    numbers = (*_COUNTS, "95 %", *passes, *_COSTS)
    made = table((*dict.fromkeys(by), *numbers, "failures"), numbers=numbers)
    for row in rows:
        made.add_row(
            *cells(*row.by.values(), row.n, row.n_graded, row.n_failed, row.n_cancelled),
            *cells(_rounded(row.reward), _interval(row)),
            *cells(*(_rounded(row.pass_at[k]) for k in ks)),
            *cells(row.input_tokens, row.output_tokens),
            *cells(seconds(row.seconds_median), seconds(row.seconds_p90)),
            *cells(", ".join(f"{cause} {n}" for cause, n in row.causes.items())),
        )
    return made


def _rounded(value: float | None) -> str:
    return number(None if value is None else round(value, 3))


def _interval(row: Stats) -> str:
    found = row.reward_interval
    return "-" if found is None else f"{_rounded(found.low)}..{_rounded(found.high)}"
