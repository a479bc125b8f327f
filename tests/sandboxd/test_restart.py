"""sandboxd killed, stopped and started again: its sandboxes are still its own."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prime_sandboxes import APIError
from prime_sandboxes.exceptions import SandboxNotRunningError

from rolldock.sandboxd.network import GATEWAY_HOST, GATEWAY_PORT
from tests.eventually import eventually
from tests.sandboxd.support import Connect, Gateway, Server, end_completely, processes_with

_ASK_GATEWAY = (
    'python3 -c "import socket; '
    f"s = socket.create_connection(('{GATEWAY_HOST}', {GATEWAY_PORT})); "
    "s.sendall(b'ping'); s.shutdown(socket.SHUT_WR); print(s.recv(99))\""
)


async def test_killed_and_started_again(own_server: Server, connect: Connect) -> None:
    """After kill -9 a restarted server has its sandboxes, jobs keep their pids, keys are known."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create(idempotency_key="kept", labels=["kept"])
    gone = await sdk.create()
    await sdk.client.delete(gone.id)
    job = await sdk.client.start_background_job(made.id, "sleep 4716; exit 3")
    pid_file = f"/tmp/job_{job.job_id}.launch/pid"
    pid = await sdk.run(made.id, f"cat {pid_file}")
    own_server.end(signal.SIGKILL)
    own_server.start()
    sdk = await connect(own_server)
    assert (await sdk.create(idempotency_key="kept", labels=["kept"])).id == made.id
    assert await sdk.run(made.id, f"cat {pid_file}; kill -0 {pid.strip()}") == pid
    assert not (await sdk.client.get_background_job_statuses([job]))[0].completed
    assert "gateway got ping" in await sdk.run(made.id, _ASK_GATEWAY)
    assert (await sdk.client.get(gone.id)).status == "TERMINATED"
    await sdk.client.delete(made.id)
    assert processes_with(b"sleep\0004716") == []


async def test_the_gateway_is_reached_while_sandboxd_is_down(
    own_server: Server, gateway: Gateway, connect: Connect
) -> None:
    """The forwarder goes on without sandboxd, and one that is killed comes back."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    ask = f"while sleep 0.05; do {_ASK_GATEWAY}; done"
    await sdk.client.start_background_job(made.id, ask)
    own_server.end(signal.SIGKILL)
    before = gateway.n_answered
    await eventually(lambda: gateway.n_answered > before + 2, "the gateway answers all the same")
    own_server.start()
    sdk = await connect(own_server)
    forwarders = set(processes_with(b"rolldock.sandboxd.forwarder"))
    [forwarder] = forwarders & set(processes_with(str(own_server.config.state_dir).encode()))
    os.kill(forwarder, signal.SIGKILL)

    async def answers() -> bool:
        return (await sdk.client.execute_command(made.id, _ASK_GATEWAY)).exit_code == 0

    await eventually(answers, "a new forwarder listens")


async def test_dead_sandboxes_are_cleared_at_start(own_server: Server, connect: Connect) -> None:
    """What died while sandboxd was down is an error, and its files are removed."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    [record] = own_server.records()
    own_server.end(signal.SIGKILL)
    os.kill(record["process"]["pid"], signal.SIGKILL)
    await eventually(lambda: not processes_with(made.id.encode()), "the sandbox died")
    own_server.start()
    sdk = await connect(own_server)
    assert (await sdk.client.get(made.id)).status == "ERROR"
    with pytest.raises(SandboxNotRunningError):
        await sdk.client.execute_command(made.id, "true")
    assert own_server.records() == []


async def test_a_boot_that_was_cut_leaves_nothing(own_server: Server, connect: Connect) -> None:
    """kill -9 in the middle of creates: the next server clears what was not finished."""
    own_server.start()
    sdk = await connect(own_server)
    calls = [asyncio.create_task(sdk.create(idempotency_key=f"cut-{n}")) for n in range(8)]
    await eventually(lambda: len(own_server.records()) > 2, "boots are under way")
    own_server.end(signal.SIGKILL)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    own_server.start()
    sdk = await connect(own_server)
    made = await asyncio.gather(*(sdk.create(idempotency_key=f"cut-{n}") for n in range(8)))
    assert {it.status for it in made} == {"RUNNING"}
    assert len(own_server.records()) == 8


async def test_orderly_stop_keeps_sandboxes(own_server: Server, connect: Connect) -> None:
    """SIGTERM ends sandboxd with exit code 0 and leaves what is in sandboxes."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    await sdk.run(made.id, "setsid -f sleep 4717")
    assert own_server.end(signal.SIGTERM) == 0
    assert len(processes_with(b"sleep\0004717")) == 1
    own_server.start()
    sdk = await connect(own_server)
    assert await sdk.run(made.id, "pgrep -c sleep") == "2\n"


async def test_orderly_stop_fails_what_runs(own_server: Server, connect: Connect) -> None:
    """A command in flight at SIGTERM is an error of the call, never an exit code, and is ended."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    call = asyncio.create_task(sdk.client.execute_command(made.id, "sleep 4718"))
    await eventually(lambda: bool(processes_with(b"sleep\0004718")), "the command runs")
    assert await asyncio.to_thread(own_server.end, signal.SIGTERM) == 0
    with pytest.raises(APIError, match="unavailable"):
        await call
    assert processes_with(b"sleep\0004718") == []


async def test_one_server_per_directory(own_server: Server) -> None:
    """A second server with the same state directory says so in one line."""
    own_server.start()
    second = own_server.launch(stderr=subprocess.PIPE)
    output, errors = second.communicate(timeout=20)
    assert (second.returncode, output) == (2, "")
    assert errors.count("\n") == 1
    assert "another sandboxd uses it" in errors


async def test_port_in_use(own_server: Server, gateway: Gateway) -> None:
    """A port that is taken is one line with the address."""
    own_server.config = own_server.config.model_copy(update={"port": gateway.port})
    blocked = own_server.launch(stderr=subprocess.PIPE)
    _, errors = blocked.communicate(timeout=20)
    own_server.config = own_server.config.model_copy(update={"port": 0})
    assert blocked.returncode == 2
    assert errors.count("\n") == 1
    assert f"127.0.0.1:{gateway.port}" in errors


async def test_not_root(own_server: Server) -> None:
    """Without root one line says so and names the backend that will not need it."""
    # Given up after the imports: another user may not be able to read this Python.
    program = (
        "import concurrent.futures.thread, os, rolldock.sandboxd.__main__ as sandboxd; "
        "os.seteuid(65534); exit(sandboxd.main())"
    )
    refused = own_server.launch("-c", program, stderr=subprocess.PIPE)
    _, errors = refused.communicate(timeout=20)
    assert (refused.returncode, errors.count("\n")) == (2, 1), errors
    assert "needs root" in errors
    assert "Docker" in errors


@pytest.fixture
def on_a_small_disk(tmp_path: Path, gateway: Gateway) -> Iterator[Server]:
    """A sandboxd whose state directory has 24 MB, not started yet."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "small", disk], check=True)
    own = Server(disk / "state", gateway.port)
    yield own
    end_completely(own)
    subprocess.run(["umount", "-l", disk], check=True)


async def test_a_sandbox_that_fills_the_disk_is_ended_all_the_same(
    on_a_small_disk: Server, connect: Connect
) -> None:
    """Its end needs no room: deleted with what it ran, and its files make room again."""
    on_a_small_disk.start()
    sdk = await connect(on_a_small_disk)
    made = await sdk.create()
    await sdk.client.start_background_job(made.id, "exec sleep 4729")
    await sdk.run(made.id, "for n in 1 2 3; do cat /dev/zero > /var/tmp/$n; done 2> /dev/null; :")
    await sdk.client.delete(made.id)
    assert (await sdk.client.get(made.id)).status == "TERMINATED"
    assert processes_with(b"sleep\x004729") == []
    assert not (on_a_small_disk.config.state_dir / "sandboxes" / made.id).exists()
    assert (await sdk.create(idempotency_key="another")).status == "RUNNING"
