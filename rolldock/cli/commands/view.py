"""`view`: the web page over the store, and one rollout as a file."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    rollout: Annotated[
        str | None, typer.Argument(metavar="ID", help="The rollout to begin with.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="To listen on; 0: any that is free.")
    ] = 8710,
    host: Annotated[
        str, typer.Option(help="To listen on; whoever reaches it reads everything.")
    ] = "127.0.0.1",
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write the rollout as one file; serve nothing."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Look at rollouts in the browser: a local page that only reads.

    With --export it writes one rollout as one HTML file that needs no server.
    """
    from rolldock.cli import view as action
    from rolldock.cli.perform import perform

    if export is not None:
        perform(action.export(rollout, export, as_json=as_json))
    perform(action.view(rollout, host, port, open_browser=open_browser, as_json=as_json))
