"""`rolldock ls`: the open rollouts from Temporal, those that have ended from the store's index."""

import json
from datetime import UTC, datetime
from typing import Final

import typer
from rich.table import Table

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, console, number, seconds, table
from rolldock.models.result import IndexEntry
from rolldock.trainer.live import LiveRollout

_COLUMNS: Final = (
    *("rollout", "status", "reward", "stage or stop reason"),
    *("turns", "tokens in", "tokens out", "seconds"),
)
_NUMBERS: Final = ("reward", "turns", "tokens in", "tokens out", "seconds")


async def ls(experiment: str | None, *, as_json: bool) -> int:
    """Open ones first, then the others, the newest last."""
    async with connected() as client:
        live = [
            rollout
            for rollout in await client.live()
            if experiment is None or rollout.experiment == experiment
        ]
        ended = [entry async for entry in client.finished(experiment)]
    ended.sort(key=lambda entry: entry.ended_at)
    done = {entry.rollout for entry in ended}
    # A rollout whose result is written is still open while its sandbox is deleted.
    live = [rollout for rollout in live if rollout.id not in done]
    if as_json:
        for rollout in live:
            typer.echo(json.dumps({"status": "running"} | rollout.model_dump(mode="json")))
        for entry in ended:
            typer.echo(entry.model_dump_json())
        return 0
    console().print(_listing(live, ended))
    return 0


def _listing(live: list[LiveRollout], ended: list[IndexEntry]) -> Table:
    made = table(_COLUMNS, _NUMBERS)
    now = datetime.now(UTC)
    for rollout in live:
        age = (now - rollout.started_at).total_seconds()
        made.add_row(*cells(rollout.id, "running", "", rollout.stage, "", "", "", seconds(age)))
    for entry in ended:
        made.add_row(
            *cells(entry.rollout, entry.status, number(entry.reward)),
            *cells(entry.cause or entry.stop_reason, entry.n_turns),
            *cells(entry.input_tokens, entry.output_tokens, seconds(entry.seconds)),
        )
    return made
