"""`agents install`, `agents ls`: the agents that this release knows."""

from typing import Annotated

import typer

app = typer.Typer(help="Agents that this release knows.", no_args_is_help=True)


@app.command()
def install(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="See `agents ls`.")],
) -> None:
    """Install agents into this machine's cache.

    Local sandboxes see it, read-only.
    """
    from rolldock.cli import agents as action
    from rolldock.cli.perform import perform

    perform(action.install(names))


@app.command()
def ls() -> None:
    """List the agents, and which are installed here."""
    from rolldock.cli import agents as action
    from rolldock.cli.perform import perform

    perform(action.ls())
