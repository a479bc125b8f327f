"""`rolldock tunnel`: a public URL for the gateway, kept until Ctrl-C."""

import asyncio
import signal
from typing import Final

import typer

from rolldock.cli.perform import INTERRUPTED, complain
from rolldock.errors import RolldockError, UnavailableError
from rolldock.settings import Settings, home
from rolldock.store.store import Store
from rolldock.tunnel.command import frpc_command
from rolldock.tunnel.config import TunnelConfig
from rolldock.tunnel.frpc import Frpc
from rolldock.tunnel.keeper import Keeper
from rolldock.tunnel.registrations import Registrations
from rolldock.tunnel.state import StateDir

_END_SECONDS: Final = 20.0


async def tunnel(host: str, port: int) -> int:
    """Keep a tunnel to the gateway at this address; Ctrl-C or SIGTERM ends and deregisters it."""
    settings = Settings.load()
    config = TunnelConfig.of(settings, home() / "tunnel", host, port)
    store = Store.open(settings.store)
    state = StateDir(config.state_dir)
    with state.held():
        opened = Registrations.open(config.api_key, config.base_url, state.keeper())
        async with opened as registrations:
            frpc = Frpc(await asyncio.to_thread(frpc_command, config.frpc), state)
            keeper = Keeper(config, state, registrations, frpc, store, complain)
            return await _kept(keeper, f"{host}:{port}")


async def _kept(keeper: Keeper, gateway: str) -> int:
    ending = _Ending()
    try:
        url = await keeper.begin()
        typer.echo(f"tunnel at {url} to {gateway}")
        ending.expected = True
        await keeper.keep()
    except asyncio.CancelledError:
        if not ending.asked:
            raise
    if not ending.expected:
        return INTERRUPTED  # what it had made is gone already
    try:
        async with asyncio.timeout(_END_SECONDS):
            await keeper.end()
    except TimeoutError:
        raise UnavailableError(_left("it took too long")) from None
    except RolldockError as error:
        raise UnavailableError(_left(str(error))) from error
    typer.echo("ended")
    return 0


def _left(why: str) -> str:
    return (
        f"the tunnel has not ended in order: {why}: the next `rolldock tunnel` here takes up what "
        "is left; Ctrl-C there ends it"
    )


class _Ending:
    """The first signal ends the tunnel in order, a second one at once."""

    def __init__(self) -> None:
        self.asked = False
        self.expected = False
        """Whether the tunnel was up: then a signal is its normal end."""
        self._task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._ask)

    def _ask(self) -> None:
        self.asked = True
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
        typer.echo("ending: the tunnel is deregistered, a second Ctrl-C ends at once")
        if self._task is not None:
            self._task.cancel()
