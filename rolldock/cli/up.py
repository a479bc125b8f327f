"""`rolldock up`: the stack in the foreground, until Ctrl-C or SIGTERM."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import typer

from rolldock.cli.perform import INTERRUPTED, complain
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.settings import Settings, home

_NAMES: Final = {
    Port.TEMPORAL: "Temporal",
    Port.TEMPORAL_UI: "Temporal UI",
    Port.GATEWAY: "gateway",
    Port.SANDBOXD: "sandboxd",
    Port.SCRIPTED: "scripted model",
}


async def up(ports: dict[str, int], *, auto_ports: bool, scripts: Path | None) -> int:
    """Start the stack, say where it is, end it in order when asked."""
    settings = Settings.load()
    options = StackOptions(
        home=home(),
        ports={Port(name): port for name, port in ports.items()},
        auto_ports=auto_ports,
        agent_cache=settings.agent_cache,
        store=os.environ.get("ROLLDOCK_STORE"),
        scripts=scripts,
    )
    ending = _Ending()
    try:
        typer.echo(f"starting in {options.home}")
        async with Stack(options, complain) as stack:
            _introduce(stack)
            ending.expected = True
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not ending.asked:
            raise
    typer.echo("ended")
    return 0 if ending.expected else INTERRUPTED


class _Ending:
    """The first signal ends the stack in order, a second one at once."""

    def __init__(self) -> None:
        self.asked = False
        self.expected = False
        """Whether the stack was up: then a signal is its normal end."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup ignores SIGHUP so that the stack outlives its terminal.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, self._ask)

    def _ask(self) -> None:
        if self.asked or self._task is None:
            complain("ended at once; sandboxes live on and the next `rolldock up` adopts them")
            os._exit(INTERRUPTED)
        self.asked = True
        typer.echo("ending: live sandboxes are deleted, a second Ctrl-C ends at once")
        self._task.cancel()


def _introduce(stack: Stack) -> None:
    for port, number in stack.ports.items():
        address = f"127.0.0.1:{number}"
        typer.echo(f"{_NAMES[port]:<16}{address if port is Port.TEMPORAL else 'http://' + address}")
    typer.echo(f"{'logs':<16}{stack.home.logs}")
    typer.echo("ready; Ctrl-C ends it")
