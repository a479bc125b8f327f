"""The socket-holding parent: what it says when it cannot start, and that it
takes its child along. Restarts and draining are in `test_durability.py`."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp

from rolldock.gateway.config import CONFIG_VARIABLE
from tests.eventually import eventually
from tests.gateway.conftest import gateway_process, is_alive


def run_to_end(**config: object) -> "subprocess.CompletedProcess[str]":
    """Start a gateway that cannot start."""
    return subprocess.run(
        [sys.executable, "-m", "rolldock.gateway"],
        env={**os.environ, CONFIG_VARIABLE: json.dumps(config)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


async def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    """kill -9 of the parent leaves no child behind."""
    with gateway_process(tmp_path / "store") as running:
        async with (
            aiohttp.ClientSession() as own,
            own.get(f"{running.url}/healthz") as response,
        ):
            assert response.status == 200
        child = running.child()
        assert child is not None
        running.process.send_signal(signal.SIGKILL)
        await eventually(lambda: not is_alive(child))


def test_a_port_in_use(tmp_path: Path) -> None:
    """A taken port is one line that names it, and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_to_end(store=str(tmp_path / "store"), secret="s" * 32, port=port)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in ended.stderr


def test_a_missing_secret(tmp_path: Path) -> None:
    """A secret that is not there is one line that says how to make it, and exit code 2."""
    missing = tmp_path / "secret"
    ended = run_to_end(store=str(tmp_path / "store"), secret_file=str(missing))
    assert ended.returncode == 2
    assert str(missing) in ended.stderr
    assert "rolldock init" in ended.stderr
    assert "Traceback" not in ended.stderr
