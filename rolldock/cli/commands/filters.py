"""The options that choose rollouts, the same for every command that lists or counts them."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Final

import typer

from rolldock.cli import completion

_Experiment = Annotated[
    str | None, typer.Option(help="Only this experiment.", autocompletion=completion.experiments)
]
_Group = Annotated[
    str | None, typer.Option(help="Only this group.", autocompletion=completion.groups)
]
_Task = Annotated[str | None, typer.Option(help="Only this task.", autocompletion=completion.tasks)]
_Agent = Annotated[
    str | None, typer.Option(help="Only this agent.", autocompletion=completion.agents)
]
_Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        "--model",
        help="Only this endpoint (by default its name is the model's).",
        autocompletion=completion.endpoints,
    ),
]
_Status = Annotated[
    str | None, typer.Option(help="running, completed, failed or cancelled.", metavar="STATUS")
]
_Cause = Annotated[
    str | None, typer.Option(help="Why they failed, e.g. sandbox_lost.", metavar="CAUSE")
]
_Stage = Annotated[
    str | None, typer.Option(help="Where they failed, or where they are.", metavar="STAGE")
]
_StopReason = Annotated[
    str | None, typer.Option(help="Why the agent ended, e.g. max_turns.", metavar="REASON")
]
_ReplayOf = Annotated[
    str | None,
    typer.Option(
        help="Only replays of this rollout.", metavar="ID", autocompletion=completion.rollouts
    ),
]
_RewardBelow = Annotated[float | None, typer.Option(help="Rewards less than this.")]
_RewardAbove = Annotated[float | None, typer.Option(help="Rewards greater than this.")]
_Since = Annotated[
    str | None,
    typer.Option(help="Ended since then: 90s, 30m, 2h, 3d, 1w ago, or a date.", metavar="WHEN"),
]
_Until = Annotated[str | None, typer.Option(help="Ended before then; as --since.", metavar="WHEN")]

_OPTIONS: Final = {
    "experiment": _Experiment,
    "group": _Group,
    "task": _Task,
    "agent": _Agent,
    "endpoint": _Endpoint,
    "status": _Status,
    "cause": _Cause,
    "stage": _Stage,
    "stop_reason": _StopReason,
    "replay_of": _ReplayOf,
    "reward_below": _RewardBelow,
    "reward_above": _RewardAbove,
    "since": _Since,
    "until": _Until,
}
OF_OPEN_ONES: Final = ("experiment", "group", "task", "agent", "endpoint")
"""The options that mean something before a rollout has ended."""


def choosing(
    names: tuple[str, ...] = tuple(_OPTIONS),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options in the place of its parameter `chosen`, a `Filters`.

    All of the command's parameters are keyword-only.
    """
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_OPTIONS[name])
        for name in names
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def choose(**given: object) -> None:
            from rolldock.cli.filters import Filters

            chosen = Filters.model_validate({name: given.pop(name) for name in names})
            command(**given, chosen=chosen)

        parameters: list[Parameter] = []
        for own in signature(command).parameters.values():
            parameters += options if own.name == "chosen" else [own]
        # Where typer looks for a command's options.
        choose.__signature__ = signature(command).replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]  # no stub knows it
        choose.__annotations__ = {each.name: each.annotation for each in parameters}
        return choose

    return decorate
