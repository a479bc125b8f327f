"""Public networks, as far as this machine has them, and what a server mounts and hides."""

import shutil
import socket
from pathlib import Path

import pytest
from prime_sandboxes import APIError

from rolldock.sandboxd.network import GATEWAY_HOST, GATEWAY_PORT
from tests.sandboxd.support import Connect, Gateway, Server

_ASK_GATEWAY = (
    'python3 -c "import socket; '
    f"s = socket.create_connection(('{GATEWAY_HOST}', {GATEWAY_PORT})); "
    "s.sendall(b'ping'); s.shutdown(socket.SHUT_WR); print(s.recv(99).decode())\""
)


def _is_taken() -> bool:
    """Whether another server of this machine has the gateway's address in the host's network."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((GATEWAY_HOST, GATEWAY_PORT))
        except OSError:
            return True
    return False


async def test_host_network_without_pasta(own_server: Server, connect: Connect) -> None:
    """Without pasta a public sandbox shares the host's network and says so; the gateway answers."""
    own_server.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    if shutil.which("pasta", path=own_server.environment["PATH"]) is not None:
        own_server.environment = {"PATH": "/sbin-without-pasta"}
    own_server.start()
    sdk = await connect(own_server)
    if _is_taken():
        with pytest.raises(APIError, match=f"{GATEWAY_HOST}:{GATEWAY_PORT}"):
            await sdk.create(network_allowlist=None)
        return
    made = [await sdk.create(network_allowlist=None) for _ in range(2)]
    assert "shares the host's network" in await sdk.client.get_logs(made[0].id)
    await sdk.client.delete(made[0].id)
    assert await sdk.run(made[1].id, _ASK_GATEWAY) == "gateway got ping\n"
    await sdk.client.delete(made[1].id)
    assert not _is_taken()


@pytest.mark.skipif(shutil.which("pasta") is None, reason="needs pasta: install passt")
async def test_public_network_by_pasta(
    own_server: Server, gateway: Gateway, connect: Connect
) -> None:
    """With pasta a public sandbox has an interface of its own and not the host's loopback."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create(network_allowlist=None)
    assert "public network by pasta" in await sdk.client.get_logs(made.id)
    assert await sdk.run(made.id, _ASK_GATEWAY) == "gateway got ping\n"
    assert len((await sdk.run(made.id, "tail -n +3 /proc/net/dev")).splitlines()) == 2
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{gateway.port}"
    assert (await sdk.client.execute_command(made.id, ask)).exit_code != 0


async def test_agent_cache_and_hidden_directories(
    own_server: Server, connect: Connect, tmp_path: Path
) -> None:
    """Agents are lent read-only; a hidden directory that appears later does not show either."""
    agents, later = tmp_path / "agents", Path("/opt") / f"rolldock-test-{tmp_path.name}"
    agents.mkdir()
    (agents / "agent").write_text("an agent")
    changes = {"agent_cache": agents, "hidden": (later,)}
    own_server.config = own_server.config.model_copy(update=changes)
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    later.mkdir()
    try:
        (later / "secret").write_text("secret")
        assert await sdk.run(made.id, "cat /opt/rolldock/agents/agent") == "an agent"
        write = "touch /opt/rolldock/agents/agent"
        assert (await sdk.client.execute_command(made.id, write)).exit_code != 0
        assert await sdk.run(made.id, f"ls -A {later}") == ""
    finally:
        shutil.rmtree(later)
