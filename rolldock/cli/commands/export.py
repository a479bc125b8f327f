"""`export`: ended rollouts in the formats of others."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolldock.cli import completion
from rolldock.cli.commands.filters import choosing

if TYPE_CHECKING:
    from rolldock.cli.filters import Filters


class FormatChoice(StrEnum):
    """The values of `--format`; what each is stands in `docs/exports.md`."""

    ATIF = "atif"
    HARBOR = "harbor"
    JSONL = "jsonl"
    HTML = "html"


@choosing()
def export(
    *,
    rollouts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Rollouts that have ended; none: those that the filters choose.",
            autocompletion=completion.rollouts,
        ),
    ] = None,
    kind: Annotated[
        FormatChoice, typer.Option("--format", "-f", help="Trajectories, jobs, chats or pages.")
    ] = FormatChoice.ATIF,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="A directory, or a file for jsonl or one rollout [default: stdout].",
        ),
    ] = None,
    chosen: "Filters",
    as_json: Annotated[
        bool, typer.Option("--json", help="What was written, as JSON instead of a line.")
    ] = False,
) -> None:
    """Write rollouts as ATIF trajectories, Harbor jobs, chat JSONL or web pages.

    Reads the store alone. The same export again gives the same bytes, and takes its place.
    """
    from rolldock.cli import export as action
    from rolldock.cli.perform import perform
    from rolldock.exports.documents import Format

    request = action.ExportRequest(
        rollouts=tuple(rollouts or ()),
        filters=chosen,
        kind=Format(kind.value),
        out=out,
        as_json=as_json,
    )
    perform(action.export(request))
