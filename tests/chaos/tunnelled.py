"""The arena behind a tunnel: agents reach the gateway through `rolldock tunnel` and its frpc alone.

Every sandbox has an address that leads out of it, by default to the gateway. Here it leads to the
stand-in for Prime's tunnel service, as the internet would, and is what tunnels' URLs name.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rolldock.cli.stack.options import Port
from rolldock.sandboxd.forwarding import Forwarding
from rolldock.sandboxd.network import GATEWAY_HOST, GATEWAY_PORT
from rolldock.tunnel.reach import TUNNEL
from tests.chaos.arena import Arena, arena
from tests.chaos.tunnel import Tunnel
from tests.tunnel.keepers import keepers_of
from tests.tunnel.service import tunnel_service


@asynccontextmanager
async def tunnelled_arena(
    home: Path, scripts: Path, say: Callable[[str], None]
) -> AsyncGenerator[Arena]:
    """The arena with a tunnel that nobody keeps yet, while the block runs."""
    variables = {"ROLLDOCK_GATEWAY_URL": TUNNEL}
    async with (
        tunnel_service((GATEWAY_HOST, GATEWAY_PORT)) as service,
        arena(home, scripts, say, variables) as running,
    ):
        await _lead_out(running, service.public_port)
        directory = home.with_name(f"{home.name}-tunnel")
        with keepers_of(service, directory, running.stack.home.store) as keepers:
            running.tunnel = Tunnel(service, keepers, running.stack.ports[Port.GATEWAY])
            yield running


async def _lead_out(running: Arena, port: int) -> None:
    """Tell sandboxd's forwarder where connections go, in sandboxd's place."""
    forwarding = Forwarding(running.stack.home.sandboxes, "127.0.0.1", port)
    await forwarding.open()
    forwarding.close()
