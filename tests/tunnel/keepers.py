"""`rolldock tunnel` as a process of its own, for tests that start, kill and pause it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rolldock.cli.stack.processes import processes_of
from rolldock.models.tunnel import PublishedTunnel
from rolldock.sandboxd.processes import ProcessIdentity
from rolldock.store.store import Store
from rolldock.tunnel.published import newest
from tests.eventually import eventually
from tests.tunnel.service import KEY, TunnelService

ROLLDOCK = Path(sys.executable).with_name("rolldock")
FRPC = f"{sys.executable} {Path(__file__).with_name('frpc.py')}"
CHECK_SECONDS = 2.0


@dataclass
class Keepers:
    """`rolldock tunnel` in one home, as often as a test starts it."""

    home: Path
    store: Path
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
        return await newest(Store.open(str(self.store)))

    async def connected(self, url: str | None) -> None:
        """Wait until a URL is published as connected."""
        await eventually(lambda: self._says(url, connected=True))

    async def interrupted(self, url: str | None) -> None:
        """Wait until a URL is published as one that does not work for the moment."""
        await eventually(lambda: self._says(url, connected=False))

    async def _says(self, url: str | None, *, connected: bool) -> bool:
        found = await self.published()
        return found is not None and (found.url, found.connected) == (url, connected)

    async def url(self) -> str | None:
        """The published URL."""
        found = await self.published()
        return None if found is None else found.url

    async def gone(self, url: str | None) -> None:
        """Wait until a URL is not the published one any more."""

        async def is_gone() -> bool:
            return await self.url() != url

        await eventually(is_gone)

    async def working(self) -> PublishedTunnel:
        """Wait until a tunnel is published that works."""
        async with asyncio.timeout(20):
            while True:
                found = await self.published()
                if found is not None and found.url is not None and found.connected:
                    return found
                await asyncio.sleep(0.02)


@contextmanager
def keepers_of(service: TunnelService, directory: Path, store: Path) -> Generator[Keepers]:
    """Keepers in a home of their own; they and their frpc are gone afterwards."""
    home = directory / "home"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROLLDOCK_", "PRIME_", "TEMPORAL_"))
    }
    variables = kept | {
        "HOME": str(directory),
        "ROLLDOCK_HOME": str(home),
        "ROLLDOCK_STORE": str(store),
        "ROLLDOCK_TUNNEL_FRPC": FRPC,
        "ROLLDOCK_TUNNEL_CHECK_SECONDS": str(CHECK_SECONDS),
        "ROLLDOCK_TUNNEL_CONNECT_SECONDS": "15",
        "PRIME_API_BASE_URL": service.url,
        "PRIME_API_KEY": KEY,
    }
    directory.mkdir(exist_ok=True)
    keepers = Keepers(home, store, variables, directory / "tunnel.log")
    try:
        yield keepers
    finally:
        for process in keepers.started:
            process.kill()
            process.wait()
        for pid in processes_of(home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
