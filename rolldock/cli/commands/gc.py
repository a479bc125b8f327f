"""`gc`: what the store holds."""

from typing import Annotated

import typer

from rolldock.cli import completion


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete what can go.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Recordings and unnamed blobs of that age, such as 30d or 4w [default: "
            "recordings past ROLLDOCK_RECORDING_DAYS, blobs past a day].",
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="Only the recordings of this experiment.", autocompletion=completion.experiments
        ),
    ] = None,
    foreign: Annotated[
        bool,
        typer.Option("--foreign", help="Also what another deployment in this store may need."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Show what the store holds; with --delete, free what nobody needs any more.

    Recordings (session logs and traces) of ended rollouts that are old enough, sessions of that age
    without a result, blobs that nothing names, and half-written files. Results and the index are
    never deleted. A deleted recording cannot be replayed.
    """
    from rolldock.cli import gc as action
    from rolldock.cli.perform import perform

    perform(
        action.gc(
            action.GcCommand(
                delete=delete,
                older_than=older_than,
                experiment=experiment,
                foreign=foreign,
                yes=yes,
                as_json=as_json,
            )
        )
    )
