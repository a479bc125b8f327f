"""`up`, `init`, `gateway`, `sandboxd`, `tunnel`: the processes of this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer


def _port(purpose: str) -> Any:
    return typer.Option(min=1, max=65535, help=purpose, show_default=False)


def up(
    temporal_port: Annotated[int | None, _port("Temporal [default: 7233].")] = None,
    temporal_ui_port: Annotated[int | None, _port("Temporal's UI [default: 8233].")] = None,
    gateway_port: Annotated[int | None, _port("The gateway [default: 8700].")] = None,
    sandboxd_port: Annotated[int | None, _port("sandboxd [default: 8701].")] = None,
    scripted_port: Annotated[
        int | None, _port("The scripted model server [default: 8702].")
    ] = None,
    auto_ports: Annotated[
        bool, typer.Option("--auto-ports", help="Take free ports, the same ones next time.")
    ] = False,
    scripted: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also serve these scripted conversations as a model."),
    ] = None,
) -> None:
    """Run the whole stack on this machine until Ctrl-C."""
    from rolldock.cli import up as action
    from rolldock.cli.perform import perform

    ports = {
        "temporal": temporal_port,
        "temporal-ui": temporal_ui_port,
        "gateway": gateway_port,
        "sandboxd": sandboxd_port,
        "scripted": scripted_port,
    }
    chosen = {name: port for name, port in ports.items() if port is not None}
    perform(action.up(chosen, auto_ports=auto_ports, scripts=scripted))


def init() -> None:
    """Make the secret, the search attributes and the reaper's schedule.

    Once for an installation without `rolldock up`; again changes nothing.
    """
    from rolldock.cli import init as action
    from rolldock.cli.perform import perform

    perform(action.init())


def gateway(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=0, max=65535)] = 8700,
) -> None:
    """Run one gateway in the foreground."""
    from rolldock.cli import serve as action
    from rolldock.cli.perform import perform

    perform(action.gateway(host, port))


def sandboxd(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=0, max=65535)] = 8701,
    gateway_port: Annotated[
        int, typer.Option(help="Where the gateway listens here.", min=1, max=65535)
    ] = 8700,
) -> None:
    """Run the local sandbox server in the foreground."""
    from rolldock.cli import serve as action
    from rolldock.cli.perform import perform

    perform(action.sandboxd(host, port, gateway_port))


def tunnel(
    host: Annotated[str, typer.Option(help="Where the gateway listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The gateway's port.", min=1, max=65535)] = 8700,
) -> None:
    """Give the gateway a public URL by a Prime Tunnel, until Ctrl-C.

    Workers with ROLLDOCK_GATEWAY_URL=tunnel use the URL that it publishes in the store. kill -9
    leaves the tunnel up; the next `rolldock tunnel` in the same ROLLDOCK_HOME keeps it on.
    """
    from rolldock.cli import tunnel as action
    from rolldock.cli.perform import perform

    perform(action.tunnel(host, port))
