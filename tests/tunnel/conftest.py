"""The real command over a stand-in for Prime's tunnel service, and a server behind it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from rolldock.cli.stack.processes import processes_of
from rolldock.models.tunnel import PublishedTunnel
from rolldock.sandboxd.processes import ProcessIdentity
from rolldock.store.store import Store
from rolldock.tunnel.published import newest
from tests.tunnel.service import KEY, TunnelService, tunnel_service

ROLLDOCK = Path(sys.executable).with_name("rolldock")
FRPC = f"{sys.executable} {Path(__file__).with_name('frpc.py')}"
CHECK_SECONDS = 2.0


async def eventually(condition: Callable[[], Awaitable[bool] | bool], seconds: float = 20) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)


@dataclass
class Keepers:
    """`rolldock tunnel` in one home, as often as a test starts it."""

    home: Path
    variables: dict[str, str]
    log: Path
    started: "list[subprocess.Popen[bytes]]" = field(
        default_factory=list["subprocess.Popen[bytes]"]
    )

    def start(self, port: int) -> "subprocess.Popen[bytes]":
        """Start one; its output goes to the log."""
        with self.log.open("ab") as log:
            command = [ROLLDOCK, "tunnel", "--port", str(port)]
            process = subprocess.Popen(command, env=self.variables, stdout=log, stderr=log)
        self.started.append(process)
        return process

    async def up(self, port: int) -> "subprocess.Popen[bytes]":
        """Start one and wait until it says its URL."""
        n_said = self.said().count("tunnel at ")
        process = self.start(port)
        await eventually(
            lambda: self.said().count("tunnel at ") > n_said or process.poll() is not None
        )
        assert process.poll() is None, self.said()
        return process

    async def end(self, process: "subprocess.Popen[bytes]", number: signal.Signals) -> int:
        """Send a signal. Returns the exit code."""
        process.send_signal(number)
        await eventually(lambda: process.poll() is not None)
        assert process.returncode is not None
        return process.returncode

    def said(self) -> str:
        """All output."""
        return self.log.read_text() if self.log.exists() else ""

    def frpc(self) -> ProcessIdentity:
        """The frpc that is written down."""
        return ProcessIdentity.model_validate_json(
            (self.home / "tunnel" / "frpc.json").read_bytes()
        )

    def is_alive(self, process: ProcessIdentity) -> bool:
        """Whether exactly this process runs."""
        pidfd = process.open()
        if pidfd is not None:
            os.close(pidfd)
        return pidfd is not None

    async def published(self) -> PublishedTunnel | None:
        """What workers read."""
        return await newest(Store.open(str(self.home / "store")))

    async def url(self) -> str | None:
        """The published URL."""
        found = await self.published()
        return None if found is None else found.url


@pytest_asyncio.fixture
async def service() -> AsyncGenerator[TunnelService]:
    """Prime's tunnel service."""
    async with tunnel_service() as running:
        yield running


@pytest.fixture
def keepers(service: TunnelService, tmp_path: Path) -> Iterator[Keepers]:
    """Keepers in a home of their own; they and their frpc are gone afterwards."""
    home = tmp_path / "home"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROLLDOCK_", "PRIME_", "TEMPORAL_"))
    }
    variables = kept | {
        "HOME": str(tmp_path),
        "ROLLDOCK_HOME": str(home),
        "ROLLDOCK_TUNNEL_FRPC": FRPC,
        "ROLLDOCK_TUNNEL_CHECK_SECONDS": str(CHECK_SECONDS),
        "ROLLDOCK_TUNNEL_CONNECT_SECONDS": "15",
        "PRIME_API_BASE_URL": service.url,
        "PRIME_API_KEY": KEY,
    }
    keepers = Keepers(home, variables, tmp_path / "tunnel.log")
    yield keepers
    for process in keepers.started:
        process.kill()
        process.wait()
    for pid in processes_of(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[int]:
    """The port of a server that answers with what it was sent."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"got " + await request.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def ask(url: str | None, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of a POST through the tunnel."""
    assert url is not None
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v1/chat/completions", data=body) as response,
    ):
        return response.status, await response.read()
