"""`rolldock ls`: the open rollouts from Temporal, those that have ended from the store's index."""

import json
from datetime import UTC, datetime
from typing import Final

import typer
from rich.table import Table

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, number, print_table, seconds, table
from rolldock.cli.filters import RUNNING, Filters
from rolldock.models.base import Contract
from rolldock.models.result import IndexEntry
from rolldock.trainer.client import Client
from rolldock.trainer.live import LiveRollout

_COLUMNS: Final = (
    *("rollout", "status", "reward", "stage or stop reason"),
    *("turns", "tokens in", "tokens out", "seconds", "ended"),
)
_NUMBERS: Final = ("reward", "turns", "tokens in", "tokens out", "seconds")

PAGE: Final = 50
"""Rows of a listing unless more are asked for."""


class _Listing(Contract):
    """A page of rollouts, and how many more there are."""

    live: tuple[LiveRollout, ...] = ()
    n_live: int = 0
    ended: tuple[IndexEntry, ...] = ()
    n_ended: int = 0

    @property
    def more(self) -> str:
        """What is not shown, as one line; empty: nothing."""
        left = {"running": self.n_live - len(self.live), "ended": self.n_ended - len(self.ended)}
        parts = [f"{n_left:,} {kind}" for kind, n_left in left.items() if n_left > 0]
        return f"{' and '.join(parts)} more: --limit 0 lists all" if parts else ""


async def ls(
    filters: Filters,
    *,
    sort: str | None = None,
    limit: int = PAGE,
    running: bool = False,
    as_json: bool = False,
) -> int:
    """Open ones first, then those that have ended: the newest first unless `sort` says otherwise.

    Args:
        limit: rows of either kind at most; 0: all.
        running: only the open ones.

    Raises:
        UsageError: a filter or `sort` names what there is not.
    """
    # Before anybody is asked: a wrong option is the caller's to mend.
    filters.ended(sort)
    async with connected() as client:
        listing = await _listing(client, filters, sort, limit or None, running=running)
    if as_json:
        for rollout in listing.live:
            typer.echo(json.dumps({"status": RUNNING} | rollout.model_dump(mode="json")))
        for entry in listing.ended:
            typer.echo(entry.model_dump_json())
    else:
        print_table(_table(listing))
    if listing.more:
        typer.echo(listing.more, err=as_json)
    return 0


async def _listing(
    client: Client, filters: Filters, sort: str | None, limit: int | None, *, running: bool
) -> _Listing:
    wanted_live, wanted = filters.running(), filters.ended(sort, limit)
    # In this order: one that ends meanwhile is in both lists, never in none.
    live = [] if wanted_live is None else await client.live(wanted_live, limit)
    n_live = len(live)
    if wanted_live is not None and n_live == limit:
        n_live = max(n_live, await client.count_live(wanted_live))
    async with client.index() as index:
        done = index.known(rollout.id for rollout in live)
        shown = _Listing(
            live=tuple(rollout for rollout in live if rollout.id not in done),
            n_live=n_live - len(done),
        )
        if running or wanted is None:
            return shown
        return shown.model_copy(
            update={"ended": tuple(index.find(wanted)), "n_ended": index.count(wanted)}
        )


def _table(listing: _Listing) -> Table:
    made = table(_COLUMNS, _NUMBERS)
    now = datetime.now(UTC)
    for rollout in listing.live:
        age = (now - rollout.started_at).total_seconds()
        made.add_row(*cells(rollout.id, RUNNING, "", rollout.stage, "", "", "", seconds(age), ""))
    for entry in listing.ended:
        made.add_row(
            *cells(entry.rollout, entry.status, number(entry.reward)),
            *cells(entry.cause or entry.stop_reason, entry.n_turns),
            *cells(entry.input_tokens, entry.output_tokens, seconds(entry.seconds)),
            *cells(f"{entry.ended_at.astimezone(UTC):%Y-%m-%d %H:%M}"),
        )
    return made
