"""`stats`, `watch`, `logs`: looking at many rollouts, and into one."""

from typing import Annotated

import typer

from rolldock.cli import completion
from rolldock.cli.commands import filters as choose

_Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def stats(
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
    experiment: choose.Experiment = None,
    group: choose.Group = None,
    task: choose.Task = None,
    agent: choose.Agent = None,
    endpoint: choose.Endpoint = None,
    status: choose.Status = None,
    cause: choose.Cause = None,
    stage: choose.Stage = None,
    stop_reason: choose.StopReason = None,
    replay_of: choose.ReplayOf = None,
    reward_below: choose.RewardBelow = None,
    reward_above: choose.RewardAbove = None,
    since: choose.Since = None,
    until: choose.Until = None,
    as_json: _Json = False,
) -> None:
    """Count ended rollouts: rewards with their 95 % interval, pass@k, failures, tokens, seconds.

    Failed and cancelled ones have no reward and are counted apart; replays are left out. The
    interval is Wilson's where all rewards are 0 or 1, else Student's t.
    """
    from rolldock.cli import stats as action
    from rolldock.cli.filters import filters
    from rolldock.cli.perform import perform

    chosen = filters(locals())
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


def watch(
    experiment: choose.Experiment = None,
    group: choose.Group = None,
    task: choose.Task = None,
    agent: choose.Agent = None,
    endpoint: choose.Endpoint = None,
    once: Annotated[bool, typer.Option("--once", help="Look once; so it does on a pipe.")] = False,
    as_json: _Json = False,
) -> None:
    """Show open rollouts by stage and those that ended last, until q or Ctrl-C."""
    from rolldock.cli import watch as action
    from rolldock.cli.filters import filters
    from rolldock.cli.perform import perform

    perform(action.watch(filters(locals()), once=once, as_json=as_json))


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
