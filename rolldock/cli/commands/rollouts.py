"""`run`, `ls`, `show`, `trace`, `cancel`: rollouts."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolldock.cli import completion
from rolldock.cli.commands.filters import choosing

if TYPE_CHECKING:
    from rolldock.cli.filters import Filters

_Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
_Id = Annotated[
    str,
    typer.Argument(metavar="ID", help="The rollout's id.", autocompletion=completion.rollouts),
]


class DeliveryChoice(StrEnum):
    """The values of `--delivery`; the contract is `rolldock.models.spec.Delivery`."""

    HELD = "held"
    LIVE = "live"


def run(
    tasks: Annotated[list[Path], typer.Argument(metavar="TASK_DIR", help="Harbor tasks.")],
    agent: Annotated[str, typer.Option("--agent", "-a", help="The agent; see `agents ls`.")],
    model: Annotated[str | None, typer.Option(help="The model's name at its server.")] = None,
    model_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible server, ending in /v1."),
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="The variable with the server's key.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The endpoint's name [default: the model's].")
    ] = None,
    samples: Annotated[int, typer.Option("-n", min=1, help="Rollouts of each task.")] = 1,
    run_id: Annotated[
        str | None,
        typer.Option("--id", help="Part of the rollouts' ids: the same again re-attaches."),
    ] = None,
    experiment: Annotated[str, typer.Option(help="What the rollouts belong to.")] = "default",
    image: Annotated[
        str | None,
        typer.Option(help="The sandbox image [default: the task's]; `host`: this machine."),
    ] = None,
    attempts: Annotated[
        int, typer.Option(min=1, max=10, help="Sandboxes to try, one after another.")
    ] = 3,
    max_turns: Annotated[int | None, typer.Option(min=1, help="Model calls at most.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.001, help="For the agent [default: the task's]."),
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=5, help="Of sampling.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of one reply.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the agent.")
    ] = None,
    agent_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Options of the agent, as TOML.")
    ] = None,
    agent_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="[default: this release's].")
    ] = None,
    agent_env: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A variable of the agent's process."),
    ] = None,
    tell_deadline: Annotated[
        bool, typer.Option(help="Tell the agent when its time is over.")
    ] = False,
    keep_workspace: Annotated[
        bool, typer.Option(help="Keep what the agent leaves, for `replay --from grade`.")
    ] = False,
    max_in_flight: Annotated[int, typer.Option(min=1, help="Rollouts at once.")] = 32,
    delivery: Annotated[
        DeliveryChoice, typer.Option(help="Whole turns, or as they come.")
    ] = DeliveryChoice.HELD,
    as_json: Annotated[
        bool, typer.Option("--json", help="One result per line on stdout, nothing else there.")
    ] = False,
) -> None:
    """Run an agent on tasks and wait for the rewards.

    Exit code 0: every rollout was graded; 1: one failed; 2: wrong usage.
    """
    from rolldock.cli import run as action
    from rolldock.cli.perform import perform

    perform(
        action.run(
            action.RunRequest(
                tasks=tuple(tasks),
                agent=agent,
                model=model,
                model_url=model_url,
                api_key_env=api_key_env,
                endpoint=endpoint,
                samples=samples,
                run_id=run_id,
                experiment=experiment,
                image=image,
                attempts=attempts,
                max_turns=max_turns,
                timeout_seconds=timeout,
                temperature=temperature,
                max_tokens=max_tokens,
                options=tuple(option or ()),
                agent_config=agent_config,
                agent_version=agent_version,
                agent_env=tuple(agent_env or ()),
                tell_deadline=tell_deadline,
                keep_workspace=keep_workspace,
                max_in_flight=max_in_flight,
                delivery=delivery.value,
                as_json=as_json,
            )
        )
    )


@choosing()
def ls(
    *,
    chosen: "Filters",
    running: Annotated[bool, typer.Option("--running", help="Only those that run.")] = False,
    sort: Annotated[
        str,
        typer.Option(
            metavar="FIELD",
            help="Of --json, such as reward, seconds, n_turns; -FIELD: descending.",
        ),
    ] = "-ended_at",
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Rows of either kind at most; 0: all.")
    ] = 50,
    as_json: _Json = False,
) -> None:
    """List rollouts: those that run, then those that have ended, the newest first."""
    from rolldock.cli import ls as action
    from rolldock.cli.perform import perform

    perform(action.ls(chosen, sort=sort, limit=limit, running=running, as_json=as_json))


def show(rollout: _Id, as_json: _Json = False) -> None:
    """Show one rollout: stages, attempts, reward, trace, logs."""
    from rolldock.cli import show as action
    from rolldock.cli.perform import perform

    perform(action.show(rollout, as_json=as_json))


def trace(rollout: _Id, as_json: _Json = False) -> None:
    """Show the turns between a rollout's agent and its model."""
    from rolldock.cli import trace as action
    from rolldock.cli.perform import perform

    perform(action.trace(rollout, as_json=as_json))


def cancel(
    rollouts: Annotated[list[str], typer.Argument(metavar="ID", help="Rollouts to cancel.")],
) -> None:
    """End rollouts; what they did is kept.

    The agent is stopped, its trace sealed, its sandbox deleted.
    """
    from rolldock.cli import cancel as action
    from rolldock.cli.perform import perform

    perform(action.cancel(rollouts))
