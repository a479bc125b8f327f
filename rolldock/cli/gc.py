"""`rolldock gc`: what the store holds, and freeing what nobody needs any more."""

import json
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import typer
from rich.filesize import decimal
from rich.table import Table

from rolldock.cli.asking import confirm
from rolldock.cli.connection import connected
from rolldock.cli.console import cells, print_table, table
from rolldock.cli.perform import complain
from rolldock.cli.text import plain
from rolldock.errors import UsageError
from rolldock.models.base import Contract
from rolldock.models.collecting import (
    Collected,
    Collection,
    HalfWritten,
    LostSession,
    Recording,
    UnnamedBlob,
)
from rolldock.store.collecting import free
from rolldock.trainer.collecting import look_beside_rollouts
from rolldock.trainer.runs import Runs

_AGE: Final = re.compile(r"(\d+)([dw])")
_UNITS: Final = {"d": "days", "w": "weeks"}


class GcCommand(Contract):
    """What the command line asked for."""

    delete: bool = False
    older_than: str | None = None
    experiment: str | None = None
    foreign: bool = False
    yes: bool = False
    as_json: bool = False


async def gc(command: GcCommand) -> int:
    """Show what there is; with `delete`, free what can be freed, once a person agrees.

    Raises:
        UsageError: an age that cannot be used.
        UnavailableError: the store or Temporal does not answer.
    """
    older_than = None if command.older_than is None else _age(command.older_than)
    async with connected() as client:
        found = await look_beside_rollouts(
            client.temporal,
            client.store,
            client.settings,
            client.deployment,
            older_than,
            command.experiment,
            foreign=command.foreign,
        )
        if not command.as_json:
            _show(found, client.store.where)
        done = None
        if command.delete and _agreed(found, command):
            done = await free(client.store, found, Runs(client.temporal).is_open)
    if command.as_json:
        typer.echo(json.dumps(_facts(found, done)))
    elif done is not None:
        typer.echo(
            f"deleted the recordings of {done.n_recordings} rollouts, {done.n_sessions} sessions "
            f"without a result, {done.n_blobs} blobs and {done.n_half_written} half-written "
            f"files: {decimal(done.n_bytes)}"
        )
    elif not command.delete and _can_go(found):
        typer.echo("nothing was deleted: `rolldock gc --delete` frees it")
    return 0


def _age(text: str) -> timedelta:
    given = _AGE.fullmatch(text)
    if given is None:
        raise UsageError(f"--older-than {text}: give days or weeks, as in 30d or 4w")
    try:
        return timedelta(**{_UNITS[given[2]]: int(given[1])})
    except OverflowError as error:
        raise UsageError(f"--older-than {text}: that is before any rollout") from error


def _can_go(found: Collection) -> bool:
    return bool(found.recordings or found.sessions or found.blobs or found.half_written)


def _agreed(found: Collection, command: GcCommand) -> bool:
    """Whether to delete: asked on a terminal, unless `--yes` was said."""
    if not _can_go(found):
        return False
    if command.yes or not sys.stdin.isatty():
        return True
    asked = confirm("Delete them for good?")
    if not asked:
        complain("nothing was deleted")
    return asked


def _show(found: Collection, store: str) -> None:
    print_table(_holdings(found))
    typer.echo(f"store: {store}")
    since = f"{found.blobs_before:%Y-%m-%d %H:%M} UTC"
    recordings, n_rollouts = _size(found.recordings), len(found.recordings)
    typer.echo(f"recordings that can go: of {n_rollouts} rollouts, {recordings}")
    if not found.others:
        sessions, blobs = _size(found.sessions), _size(found.blobs)
        typer.echo(f"sessions without a result that can go: {len(found.sessions)}, {sessions}")
        typer.echo(
            f"blobs that can go, named by nothing since {since}: {len(found.blobs)}, {blobs}"
        )
    files = _size(found.half_written)
    typer.echo(f"half-written files that can go: {len(found.half_written)}, {files}")
    for other in found.others:
        typer.echo(
            plain(
                f"deployment {other.deployment} (namespace {other.namespace}) has kept its records "
                f"here since {other.since:%Y-%m-%d}: blobs and sessions without a result stay, "
                "since its open rollouts may need them; if it is gone for good, add --foreign"
            )
        )


def _size(records: Sequence[Recording | LostSession | UnnamedBlob | HalfWritten]) -> str:
    return decimal(sum(one.n_bytes for one in records))


def _holdings(found: Collection) -> Table:
    made = table(("kind", "records", "size", "oldest"), numbers=("records", "size"))
    for one in found.holdings:
        oldest = None if one.oldest_at is None else f"{one.oldest_at:%Y-%m-%d %H:%M}"
        made.add_row(*cells(one.kind, one.n_records, decimal(one.n_bytes), oldest))
    everything = sum(one.n_records for one in found.holdings)
    size = sum(one.n_bytes for one in found.holdings)
    made.add_row(*cells("all", everything, decimal(size), ""))
    return made


def _facts(found: Collection, done: Collected | None) -> dict[str, object]:
    return {
        "holdings": [one.model_dump(mode="json") for one in found.holdings],
        "recordings": [one.model_dump(mode="json") for one in found.recordings],
        "sessions": [one.model_dump(mode="json") for one in found.sessions],
        "half_written": [one.model_dump(mode="json") for one in found.half_written],
        "other_deployments": [one.model_dump(mode="json") for one in found.others],
        "n_blobs": len(found.blobs),
        "blob_bytes": sum(blob.n_bytes for blob in found.blobs),
        "blobs_before": found.blobs_before.isoformat(),
        "deleted": None if done is None else done.model_dump(),
    }
