"""A sandboxd process, the SDK's client and a TCP gateway, for the tests of this folder."""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from prime_sandboxes import AsyncSandboxClient, CreateSandboxRequest, Sandbox

from rolldock.sandboxd.config import SandboxdConfig

API_KEY = "key-of-these-tests"
DEADLINE_SECONDS = 15.0
CHECKOUT = Path(__file__).parents[2]


def read_proc(pid: int | str, name: str) -> bytes:
    """A file of /proc; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def has_ended(pid: int) -> bool:
    """Whether a process has closed all that it had open: its memory goes before its files."""
    state = read_proc(pid, "stat").rpartition(b") ")[2][:1]
    return state in (b"", b"Z", b"X")


def processes_with(text: bytes) -> list[int]:
    """Processes of this machine whose environment, command line or mounts hold `text`."""
    names = ("environ", "cmdline", "mountinfo")
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if any(text in read_proc(pid, name) for name in names)]


class Gateway(socketserver.ThreadingTCPServer):
    """Stands where the gateway listens: answers what it was sent, once the sender is done."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.n_answered = 0
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        channel: socket.socket = self.request
        received = b""
        while data := channel.recv(65536):
            received += data
        channel.sendall(b"gateway got " + received)
        assert isinstance(self.server, Gateway)
        self.server.n_answered += 1


class Server:
    """One sandboxd process with its state directory; it can be killed and started again."""

    def __init__(self, state_dir: Path, gateway_port: int, **options: Any) -> None:
        self.config = SandboxdConfig(
            state_dir=state_dir, api_key=API_KEY, gateway_port=gateway_port, **options
        )
        self.environment: dict[str, str] = {}
        self.url = ""
        self.process: subprocess.Popen[str] | None = None

    def launch(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start the process without waiting; `arguments` are Python's, by default the module."""
        config = self.config.model_dump_json()
        environment = {**os.environ, **self.environment, "ROLLDOCK_SANDBOXD_CONFIG": config}
        return subprocess.Popen(
            [sys.executable, *(arguments or ("-m", "rolldock.sandboxd"))],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=CHECKOUT,
            **options,
        )

    def start(self, *arguments: str, **options: Any) -> None:
        """Start it and wait until it listens; arguments and options are those of `launch`."""
        self.process = self.launch(*arguments, **options)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on http://"), line
        self.url = line.removeprefix("listening on ").strip()
        # A restarted server is where clients remember it.
        port = int(self.url.rpartition(":")[2])
        self.config = self.config.model_copy(update={"port": port})

    def end(self, number: signal.Signals) -> int:
        """Signal it and wait; returns its exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=DEADLINE_SECONDS)
        self.process.stdout.close()
        self.process = None
        return code

    def delete_everything(self) -> None:
        """End every sandbox, as an operator would."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        with httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60) as client:
            page = client.get("/sandbox", params={"is_active": True, "per_page": 1000}).json()
            ids = [sandbox["id"] for sandbox in page["sandboxes"]]
            client.request("DELETE", "/sandbox", json={"sandbox_ids": ids}).raise_for_status()

    def records(self) -> list[dict[str, Any]]:
        """The records of live sandboxes on disk."""
        paths = self.config.state_dir.glob("sandboxes/*/record.json")
        return [json.loads(path.read_bytes()) for path in paths]


def end_completely(server: Server) -> None:
    """Stop a server, started again if need be, and check that nothing of it is left."""
    if server.process is None:
        server.start()
    server.delete_everything()
    assert server.end(signal.SIGTERM) == 0
    left = processes_with(str(server.config.state_dir).encode())
    assert [pid for pid in left if pid != os.getpid()] == []
    assert list(server.config.state_dir.glob("sandboxes/*")) == []
    assert list(server.config.state_dir.glob("trash/*")) == []


class Sdk:
    """The SDK's client with the few calls that most tests begin with."""

    def __init__(self, client: AsyncSandboxClient) -> None:
        self.client = client

    async def create(self, **changes: Any) -> Sandbox:
        """A sandbox without a network, unless the changes say otherwise."""
        fields: dict[str, Any] = {
            "name": "test",
            "docker_image": "host",
            "network_allowlist": [],
            **changes,
        }
        return await self.client.create(CreateSandboxRequest(**fields))

    async def run(self, sandbox_id: str, command: str, **options: Any) -> str:
        """The output of a command that must succeed."""
        result = await self.client.execute_command(sandbox_id, command, **options)
        assert result.exit_code == 0, (command, result)
        return result.stdout


Connect = Callable[[Server], Awaitable[Sdk]]
