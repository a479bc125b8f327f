"""`stats`, `watch`, `logs`: looking at many rollouts, and into one."""

from typing import TYPE_CHECKING, Annotated

import typer

from rolldock.cli import completion
from rolldock.cli.commands.filters import OF_OPEN_ONES, choosing

if TYPE_CHECKING:
    from rolldock.cli.filters import Filters

_Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


@choosing()
def stats(
    *,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Count by experiment, task, agent, endpoint, group [default: task and agent].",
        ),
    ] = None,
    k: Annotated[
        list[int] | None, typer.Option("-k", min=1, help="Of pass@k [default: 1 and 8].")
    ] = None,
    threshold: Annotated[float, typer.Option(help="The reward from which on one passes.")] = 1,
    replays: Annotated[bool, typer.Option("--replays", help="Count replays too.")] = False,
    chosen: "Filters",
    as_json: _Json = False,
) -> None:
    """Count ended rollouts: rewards with their 95 % interval, pass@k, failures, tokens, seconds.

    Failed and cancelled ones have no reward and are counted apart; replays are left out. The
    interval is Wilson's where all rewards are 0 or 1, else Student's t.
    """
    from rolldock.cli import stats as action
    from rolldock.cli.perform import perform

    perform(
        action.stats(
            chosen,
            by=by or action.DEFAULT_BY,
            ks=k or action.DEFAULT_KS,
            threshold=threshold,
            replays=replays,
            as_json=as_json,
        )
    )


@choosing(OF_OPEN_ONES)
def watch(
    *,
    chosen: "Filters",
    once: Annotated[bool, typer.Option("--once", help="Look once; so it does on a pipe.")] = False,
    as_json: _Json = False,
) -> None:
    """Show open rollouts by stage and those that ended last, until q or Ctrl-C."""
    from rolldock.cli import watch as action
    from rolldock.cli.perform import perform

    perform(action.watch(chosen, once=once, as_json=as_json))


def logs(
    rollout: Annotated[
        str,
        typer.Argument(metavar="ID", help="The rollout's id.", autocompletion=completion.rollouts),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the rollout has ended.")
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="One file, as `rolldock show` names it [default: the output]."
        ),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of this attempt [default: the newest].")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show what an agent and its tests wrote, also while they run."""
    from rolldock.cli import logs as action
    from rolldock.cli.perform import perform
    from rolldock.trainer.reading import LogQuery

    query = LogQuery(name=log, attempt=attempt, follow=follow)
    perform(action.logs(rollout, query, as_json=as_json))
