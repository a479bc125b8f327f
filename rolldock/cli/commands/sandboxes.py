"""`sandboxes`, `reap`, `delete`: what is alive at the sandbox API."""

from typing import Annotated

import typer

_Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def sandboxes(
    leaked: Annotated[
        bool,
        typer.Option("--leaked", help="Only ours without an open rollout; exit code 1 if any."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """List the sandboxes that are alive, and whose they are."""
    from rolldock.cli import sandboxes as action
    from rolldock.cli.perform import perform

    perform(action.leaked(as_json=as_json) if leaked else action.sandboxes(as_json=as_json))


def reap(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Spare what is younger [default: the worker's ROLLDOCK_GRACE_SECONDS].",
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Sweep now: delete leaked sandboxes, write missing results.

    Only sandboxes of this deployment whose rollout has certainly ended. The schedule does the same
    every few minutes.
    """
    from rolldock.cli import reap as action
    from rolldock.cli.perform import perform

    perform(action.reap(dry_run=dry_run, grace_seconds=grace, as_json=as_json))


def delete(
    sandbox_ids: Annotated[list[str], typer.Argument(metavar="SANDBOX", help="Sandbox ids.")],
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Also if it is not of this deployment.")
    ] = False,
) -> None:
    """Delete sandboxes by id; one of an open rollout is refused."""
    from rolldock.cli import sandboxes as action
    from rolldock.cli.perform import perform

    perform(action.delete(sandbox_ids, foreign=foreign))
