"""`replay`: earlier rollouts again, from their start, their grade, their recording or a turn."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolldock.cli import completion
from rolldock.cli.commands.filters import choosing

if TYPE_CHECKING:
    from rolldock.cli.filters import Filters


class DivergenceChoice(StrEnum):
    """The values of `--on-divergence`; the contract is `rolldock.models.replay.OnDivergence`."""

    STOP = "stop"
    LIVE = "live"


@choosing()
def replay(
    *,
    take_up: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="WHERE",
            help="start: all of it anew; grade: the tests again; recording: the agent again, with "
            "the recorded answers; turn=K: recorded up to turn K of its branch, counted from 1, "
            "live after (also: --from turn --turn K).",
        ),
    ],
    rollouts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="Rollouts that have ended; others are found by filters.",
            autocompletion=completion.rollouts,
        ),
    ] = None,
    turn: Annotated[int | None, typer.Option(metavar="K", min=1, help="As in turn=K.")] = None,
    branch: Annotated[
        int | None,
        typer.Option(
            metavar="SLOT",
            min=0,
            help="The branch of turn K leads to this slot, see `trace` [default: the last turn of "
            "the conversation].",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Replays of each rollout.")] = 1,
    on_divergence: Annotated[
        DivergenceChoice,
        typer.Option(help="What to do when the agent asks what was not recorded."),
    ] = DivergenceChoice.STOP,
    tests: Annotated[
        Path | None,
        typer.Option(metavar="TASK_DIR", help="Grade with this task's tests instead."),
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=1, help="[default: the last that has what is needed]."),
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="PREFIX",
            help="Ids PREFIX/ORIGIN: the same command again re-attaches.",
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Ids, one a line, or what `ls --json` prints; - : stdin."
        ),
    ] = None,
    chosen: "Filters",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the results.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be started.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before replaying what filters find.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object per line on stdout, nothing else there.")
    ] = False,
) -> None:
    """Replay rollouts that have ended; each replay is a new rollout that names its origin.

    Exit code 0: every replay was graded (or started, with --no-wait); 1: one was not, or a rollout
    cannot be replayed; 2: wrong usage.
    """
    from rolldock.cli import replay as action
    from rolldock.cli.perform import perform

    perform(
        action.replay(
            action.ReplayCommand(
                rollouts=tuple(rollouts or ()),
                ids=ids,
                chosen=chosen,
                take_up=take_up,
                turn=turn,
                branch=branch,
                n=n,
                on_divergence=on_divergence.value,
                tests=tests,
                attempt=attempt,
                run_id=run_id,
                wait=wait,
                dry_run=dry_run,
                yes=yes,
                as_json=as_json,
            )
        )
    )
