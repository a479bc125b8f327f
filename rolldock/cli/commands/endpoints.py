"""`endpoint add`, `ls`, `pause`, `resume`, `update`: the model servers that rollouts name."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Model servers that rollouts name.", no_args_is_help=True)


class ModeChoice(StrEnum):
    """The values of `--mode`; the contract is `rolldock.models.endpoint.EngineMode`."""

    CHAT = "chat"
    TOKENS = "tokens"


class LogprobsChoice(StrEnum):
    """The values of `--logprobs-mode`; the contract is `rolldock.models.endpoint.LogprobsMode`."""

    RAW = "raw"
    PROCESSED = "processed"
    UNKNOWN = "unknown"


class NativeChoice(StrEnum):
    """The values of `--native`; the contract is `rolldock.models.endpoint.Endpoint.native`."""

    ANTHROPIC_MESSAGES = "anthropic.messages"
    OPENAI_RESPONSES = "openai.responses"
    NONE = "none"
    """Nothing but chat completions, whatever the last version says."""


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What rollouts call it.")],
    url: Annotated[str, typer.Option(help="An OpenAI-compatible server, ending in /v1.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    api_key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="The variable with the server's key.")
    ] = None,
    mode: Annotated[ModeChoice, typer.Option(help="Who applies the template.")] = ModeChoice.CHAT,
    logprobs_mode: Annotated[
        LogprobsChoice | None,
        typer.Option(help="Log-probs before sampling or after; by default the server is tried."),
    ] = None,
    native: Annotated[
        list[NativeChoice] | None,
        typer.Option(
            help="What it speaks beside chat completions, which evaluation passes through; "
            "by default as before."
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The model's tokenizer.json and its kin; mode tokens."),
    ] = None,
    renderer: Annotated[
        str | None, typer.Option(help="Of the package renderers; by default the model's; tokens.")
    ] = None,
) -> None:
    """Add an endpoint, or a new version of it; the server is asked first."""
    from rolldock.cli import endpoints as action
    from rolldock.cli.perform import perform

    perform(
        action.add(
            name,
            url=url,
            model=model,
            api_key_env=api_key_env,
            mode=mode.value,
            logprobs_mode=logprobs_mode and logprobs_mode.value,
            native=_formats(native),
            tokenizer=tokenizer,
            renderer=renderer,
        )
    )


def _formats(native: list[NativeChoice] | None) -> list[str] | None:
    """None where nothing was said: then what is known of the server stays."""
    if not native:
        return None
    return [choice.value for choice in native if choice is not NativeChoice.NONE]


@app.command()
def ls(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """List the endpoints; keys are never shown."""
    from rolldock.cli import endpoints as action
    from rolldock.cli.perform import perform

    perform(action.ls(as_json=as_json))


_Name = Annotated[str, typer.Argument(metavar="NAME", help="As `endpoint ls` shows it.")]


@app.command()
def pause(
    name: _Name,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=0, metavar="SECONDS", help="Longest wait.")
    ] = 600,
) -> None:
    """Hold new calls back in the gateway, and wait until no older one is open."""
    from rolldock.cli import endpoints as action
    from rolldock.cli.perform import perform

    perform(action.pause(name, timeout_seconds=timeout_seconds))


@app.command()
def resume(
    name: _Name,
    policy_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The policy that answers from now on.")
    ] = None,
) -> None:
    """Let the calls go that wait for a paused endpoint."""
    from rolldock.cli import endpoints as action
    from rolldock.cli.perform import perform

    perform(action.resume(name, policy_version=policy_version))


@app.command()
def update(
    name: _Name,
    policy_version: Annotated[
        str, typer.Option(metavar="VERSION", help="The policy that answers from now on.")
    ],
) -> None:
    """Say which policy answers from now on; calls that are open are tagged with both."""
    from rolldock.cli import endpoints as action
    from rolldock.cli.perform import perform

    perform(action.update(name, policy_version=policy_version))
