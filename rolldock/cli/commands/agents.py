"""`agents install`, `push`, `dockerfile`, `ls`: the agents that this release knows."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Agents that this release knows.", no_args_is_help=True)

_Names = Annotated[list[str], typer.Argument(metavar="NAME[@VERSION]", help="See `agents ls`.")]
_Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Options, as TOML: `command` is what they describe."),
]


@app.command()
def install(names: _Names, agent_config: _Config = None) -> None:
    """Install agents into this machine's cache.

    Local sandboxes see it, read-only. Without a version: the one pinned by this release.
    """
    from rolldock.cli import agents as action
    from rolldock.cli.perform import perform

    perform(action.install(names, config=agent_config))


@app.command()
def push(names: _Names, agent_config: _Config = None) -> None:
    """Put installed agents into the store, for sandboxes that mount no cache.

    What is not installed here is installed first. A version is pushed once.
    """
    from rolldock.cli import agents as action
    from rolldock.cli.perform import perform

    perform(action.push(names, config=agent_config))


@app.command()
def dockerfile(
    names: _Names,
    image: Annotated[
        str, typer.Option("--from", metavar="IMAGE", help="The image to put them into.")
    ] = "python:3.12-slim",
    agent_config: _Config = None,
) -> None:
    """Print a Dockerfile of an image with agents inside, to which none has to be brought."""
    from rolldock.cli import agents as action
    from rolldock.cli.perform import perform

    perform(action.dockerfile(names, image, config=agent_config))


@app.command()
def ls() -> None:
    """List the agents, which are installed here and which are in the store."""
    from rolldock.cli import agents as action
    from rolldock.cli.perform import perform

    perform(action.ls())
