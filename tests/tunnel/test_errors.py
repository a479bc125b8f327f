"""What `rolldock tunnel` says when it cannot: one line, with the mend; nothing is left behind."""

import signal

import pytest

from tests.eventually import eventually
from tests.tunnel.keepers import Keepers
from tests.tunnel.service import TunnelService

WRONG_USAGE = 2


async def refusal(keepers: Keepers, port: int = 1) -> str:
    """The one line of a keeper that does not come up."""
    keeper = keepers.start(port)
    await eventually(lambda: keeper.poll() is not None)
    assert keeper.returncode == WRONG_USAGE
    (line,) = keepers.said().splitlines()
    assert line.startswith("rolldock: ")
    return line


async def test_what_the_api_refuses(keepers: Keepers, service: TunnelService) -> None:
    """The API's refusal is the only line."""
    service.refusal = (402, "no credit")
    assert "see that the account has credit" in await refusal(keepers)


async def test_no_key(keepers: Keepers) -> None:
    """Without a key nothing is asked."""
    del keepers.variables["PRIME_API_KEY"]
    assert "set PRIME_API_KEY, or run `prime login`" in await refusal(keepers)


async def test_no_frpc(keepers: Keepers, service: TunnelService) -> None:
    """A program that is not there is named before anything is registered."""
    keepers.variables["ROLLDOCK_TUNNEL_FRPC"] = "/nowhere/frpc"
    line = await refusal(keepers)
    assert "ROLLDOCK_TUNNEL_FRPC: no program '/nowhere/frpc'" in line
    assert service.tunnels == {}


async def test_an_frpc_that_ends_at_once(keepers: Keepers, service: TunnelService) -> None:
    """Its last words are repeated, and the registration is ended."""
    keepers.variables["ROLLDOCK_TUNNEL_FRPC"] = "/bin/sh -c 'echo cannot parse it; exit 3'"
    line = await refusal(keepers)
    assert "cannot parse it" in line
    assert "frpc.log" in line
    assert service.live() == []


@pytest.mark.slow
async def test_an_frpc_that_never_connects(keepers: Keepers, service: TunnelService) -> None:
    """It is given up after the time in the settings; process and registration are gone."""
    keepers.variables["ROLLDOCK_TUNNEL_FRPC"] = "/bin/sh -c 'exec sleep 1000'"
    keepers.variables["ROLLDOCK_TUNNEL_CONNECT_SECONDS"] = "1"
    assert "no tunnel after 1 s" in await refusal(keepers)
    assert service.live() == []
    assert not (keepers.home / "tunnel" / "frpc.json").exists()


@pytest.mark.slow
async def test_an_end_without_the_api(
    keepers: Keepers, server: int, service: TunnelService
) -> None:
    """What could not be deregistered is said, and the next keeper takes it up."""
    keeper = await keepers.up(server)
    (tunnel_id,) = service.live()
    service.refusal = (500, "boom")
    assert await keepers.end(keeper, signal.SIGINT) == WRONG_USAGE
    assert "has not ended in order" in keepers.said().splitlines()[-1]
    service.refusal = None
    keeper = await keepers.up(server)
    assert service.live() == [tunnel_id]
    assert await keepers.end(keeper, signal.SIGINT) == 0
    assert service.live() == []
