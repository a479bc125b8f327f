"""`rolldock reap`: one sweep now, by the same workflow that the schedule starts."""

import typer
from rich.table import Table

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, print_table, table
from rolldock.cli.text import plain
from rolldock.models.reaping import SweepReport, SweptSandbox
from rolldock.sandbox.reaping import count_words

_FAILED = 1


async def reap(*, dry_run: bool, grace_seconds: float | None, as_json: bool) -> int:
    """Sweep and report; exit code 1 where a sandbox or a record could not be dealt with."""
    async with connected() as client:
        report = await client.reap(dry_run=dry_run, grace_seconds=grace_seconds)
    if as_json:
        typer.echo(report.model_dump_json())
    else:
        _print(report)
    return _FAILED if report.n_failed or report.unwritten or report.n_undeleted else 0


def judged_table(swept: tuple[SweptSandbox, ...] | list[SweptSandbox]) -> Table:
    """Sandboxes with what a sweep makes of them."""
    made = table(("sandbox", "rollout", "age", "verdict", "why"), ("age",))
    for one in swept:
        done = "deleted" if one.deleted else str(one.verdict)
        made.add_row(
            *cells(one.sandbox_id, one.rollout, f"{one.age_seconds:.0f} s", done),
            *cells(f"{one.why}; not deleted: {one.error}" if one.error else one.why),
        )
    return made


def _print(report: SweepReport) -> None:
    if report.swept:
        print_table(judged_table(report.swept))
    typer.echo(f"sandboxes of this deployment: {count_words(report.counts) or 'none'}")
    if report.dry_run:
        typer.echo("dry run: nothing was deleted or written")
    else:
        typer.echo(
            f"deleted {report.n_deleted}, failed {report.n_failed}, left for the next sweep "
            f"{report.n_deferred}"
        )
    if report.n_checkpoints or report.n_checkpoints_deferred:
        typer.echo(
            f"expired checkpoints: {report.n_checkpoints}, left for the next sweep "
            f"{report.n_checkpoints_deferred}"
        )
    if report.n_recordings:
        typer.echo(f"rollouts whose recordings had expired: {report.n_recordings}")
    if report.n_recordings_kept_back:
        typer.echo(
            "rollouts whose expired recordings a replay may be playing, so that they stay: "
            f"{report.n_recordings_kept_back}"
        )
    for problem in report.undeleted:
        typer.echo(plain(f"checkpoint not deleted: {problem}"))
    for rollout in report.results:
        typer.echo(plain(f"ended without a result: {rollout}"))
    for problem in report.unwritten:
        typer.echo(plain(f"no result could be written: {problem}"))
