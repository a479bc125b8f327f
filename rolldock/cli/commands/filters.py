"""The options that choose rollouts, the same for every command that lists or counts them."""

from typing import Annotated

import typer

from rolldock.cli import completion

Experiment = Annotated[
    str | None, typer.Option(help="Only this experiment.", autocompletion=completion.experiments)
]
Group = Annotated[
    str | None, typer.Option(help="Only this group.", autocompletion=completion.groups)
]
Task = Annotated[str | None, typer.Option(help="Only this task.", autocompletion=completion.tasks)]
Agent = Annotated[
    str | None, typer.Option(help="Only this agent.", autocompletion=completion.agents)
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        "--model",
        help="Only this endpoint (by default its name is the model's).",
        autocompletion=completion.endpoints,
    ),
]
Status = Annotated[
    str | None, typer.Option(help="running, completed, failed or cancelled.", metavar="STATUS")
]
Cause = Annotated[
    str | None, typer.Option(help="Why they failed, e.g. sandbox_lost.", metavar="CAUSE")
]
Stage = Annotated[
    str | None, typer.Option(help="Where they failed, or where they are.", metavar="STAGE")
]
StopReason = Annotated[
    str | None, typer.Option(help="Why the agent ended, e.g. max_turns.", metavar="REASON")
]
ReplayOf = Annotated[
    str | None,
    typer.Option(
        help="Only replays of this rollout.", metavar="ID", autocompletion=completion.rollouts
    ),
]
RewardBelow = Annotated[float | None, typer.Option(help="Rewards less than this.")]
RewardAbove = Annotated[float | None, typer.Option(help="Rewards greater than this.")]
Since = Annotated[
    str | None,
    typer.Option(help="Ended since then: 90s, 30m, 2h, 3d, 1w ago, or a date.", metavar="WHEN"),
]
Until = Annotated[str | None, typer.Option(help="Ended before then; as --since.", metavar="WHEN")]
