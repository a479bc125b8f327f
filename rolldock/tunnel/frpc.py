"""The frpc of one tunnel: started detached, found again, ended, and what its log says.

It outlives the process that started it: a session of its own, its output in a file. Talks to no
API and never starts itself again; when to is the keeper's business.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from prime_tunnel.frpc import FrpcEvent, classify_line, failure_message

from rolldock.errors import UsageError
from rolldock.sandboxd.processes import ProcessIdentity, has_ended, kill_pidfd
from rolldock.tunnel.config import FRPC_VARIABLE
from rolldock.tunnel.state import Registration, StateDir

_END_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
_LOG_BYTES: Final = 4 * 1024 * 1024
"""A log that has grown so long is emptied."""
_TAIL_BYTES: Final = 8192


def config_text(registration: Registration, host: str, port: int) -> str:
    """frpc's configuration, as `prime_tunnel` writes it.

    JSON strings without escaped characters outside ASCII are TOML strings.
    """

    def quoted(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)

    return f"""\
serverAddr = {quoted(registration.server_host)}
serverPort = {registration.server_port}
user = {quoted(registration.tunnel_id)}
auth.method = "token"
auth.token = {quoted(registration.frp_token)}
metadatas.binding_secret = {quoted(registration.binding_secret)}

# It retries its first login too, as long as the keeper lets it.
loginFailExit = false
transport.tcpMux = true
transport.tcpMuxKeepaliveInterval = 30
transport.poolCount = 10
transport.dialServerKeepalive = 60
log.to = "console"
log.level = "info"

[[proxies]]
name = {quoted(registration.tunnel_id)}
type = "http"
localIP = {quoted(host)}
localPort = {port}
subdomain = {quoted(registration.tunnel_id)}
"""


class Frpc:
    """At most one process, that of the configuration in a state directory."""

    def __init__(self, command: tuple[str, ...], state: StateDir) -> None:
        self._command = command
        self._state = state
        self._process: ProcessIdentity | None = None
        self._pidfd: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._read_to = 0
        self.started_at = 0.0
        """When it was started or found, by the monotonic clock."""

    @property
    def pid(self) -> int | None:
        """The process that runs; None: none does."""
        return self._process.pid if self._process is not None and self.alive() else None

    def alive(self) -> bool:
        """Whether the process runs."""
        if self._child is not None:
            self._child.poll()  # reaps it
        return self._pidfd is not None and not has_ended(self._pidfd)

    def adopt(self) -> bool:
        """Take over what an earlier keeper started. Returns whether it runs.

        One that was started but not written down is known by its command line.
        """
        found = self._state.process()
        pidfd = None if found is None else found.open()
        if pidfd is None:
            found = _running_with(self._state.config)
            pidfd = None if found is None else found.open()
        if found is None or pidfd is None:
            return False
        self._state.keep_process(found)
        self._hold(found, pidfd)
        return True

    def start(self) -> None:
        """Start it anew; its log begins anew too.

        Raises:
            UsageError: the command cannot be run.
        """
        self._release()
        command = (*self._command, "-c", str(self._state.config))
        try:
            # Appending, so that a log that was emptied has no hole where it was.
            log = os.open(
                self._state.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600
            )
            try:
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._state.root,
                    env=_environment(),
                    start_new_session=True,
                )
            finally:
                os.close(log)
        except OSError as error:
            raise UsageError(
                f"frpc cannot be run as {command[0]!r}: {error.strerror}: set {FRPC_VARIABLE} to "
                "the path of an frpc"
            ) from error
        self._read_to = 0
        pidfd = os.pidfd_open(self._child.pid)
        try:
            found = ProcessIdentity.of(self._child.pid)
        except OSError:
            os.close(pidfd)
            return  # it has ended already: its log says why
        self._hold(found, pidfd)
        self._state.keep_process(found)

    async def end(self) -> None:
        """End it: SIGTERM, and SIGKILL when it takes too long."""
        if self._pidfd is not None and self.alive():
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            until = time.monotonic() + _END_SECONDS
            while self.alive() and time.monotonic() < until:
                await asyncio.sleep(_POLL_SECONDS)
            kill_pidfd(self._pidfd)
            while self.alive():
                await asyncio.sleep(_POLL_SECONDS)
        self._release()

    def leave(self) -> None:
        """Let go of it; it runs on."""
        self._release()

    def news(self) -> FrpcEvent | None:
        """The last event in the lines that its log has gained since the last look."""
        try:
            with self._state.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(self._read_to if self._read_to <= size else 0)
                text = log.read()
                whole = text.rfind(b"\n") + 1
                self._read_to = log.tell() - len(text) + whole
        except OSError:
            return None
        if self._read_to > _LOG_BYTES:
            os.truncate(self._state.log, 0)
            self._read_to = 0
        events = [classify_line(line) for line in _lines(text[:whole])]
        return next((event for event in reversed(events) if event is not None), None)

    def last_words(self) -> str:
        """The line of its log that best says what is wrong."""
        try:
            text = self._state.log.read_bytes()[-_TAIL_BYTES:]
        except OSError:
            text = b""
        code = None if self._child is None else self._child.poll()
        return " ".join(failure_message(_lines(text), code).split())

    def _hold(self, process: ProcessIdentity, pidfd: int) -> None:
        self._process, self._pidfd = process, pidfd
        self.started_at = time.monotonic()

    def _release(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
        if self._child is not None and self._child.poll() is None:
            # It is meant to run on: not a process that somebody forgot to wait for.
            self._child.returncode = 0
        self._process = self._pidfd = self._child = None


def _environment() -> dict[str, str]:
    """Ours without our keys: it needs none of them."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PRIME_", "ROLLDOCK_"))
    }


def _lines(text: bytes) -> list[str]:
    return [line for line in text.decode(errors="replace").splitlines() if line.strip()]


def _running_with(config: Path) -> ProcessIdentity | None:
    """A process of ours that was started with this configuration."""
    ending = b"\0-c\0" + os.fsencode(config) + b"\0"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            if (entry / "cmdline").read_bytes().endswith(ending):
                return ProcessIdentity.of(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
    return None
