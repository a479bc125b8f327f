"""The way into sandboxes, from sandboxd's side: starts the fork server and hands it requests.

What happens inside is in `inside/`. This side never enters a namespace itself.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

_SERVER: Final = "rolldock.sandboxd.inside.server"
_PACKAGE_PARENT: Final = Path(__file__).parents[2]
_RECEIVE_BYTES: Final = 1 << 16


class EntryRefusedError(Exception):
    """Raised when a process could not start in a sandbox, or an operation there failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """`invalid_argument`, `not_found`, `too_large`, `not_running`, ... (see `inside/`)."""


class Streams(NamedTuple):
    """The descriptors that become 0, 1 and 2 of the process."""

    stdin: int
    stdout: int
    stderr: int


class EnteredProcess:
    """A process that was started in a sandbox, as its keeper reports it."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._refusal: EntryRefusedError | None = None
        self.child: int | None = None
        """Its process id on this machine; valid until `exit_code` is known."""
        self._pid: asyncio.Future[int | None] = self._loop.create_future()
        self.exit_code: asyncio.Future[int | None] = self._loop.create_future()
        """128 + n after signal n; None when its keeper died."""
        self._loop.add_reader(channel, self._receive)

    async def started(self) -> int:
        """The process id inside the sandbox, once it runs.

        Raises:
            EntryRefusedError: it could not be started.
        """
        pid = await asyncio.shield(self._pid)
        if pid is None:
            raise self._refusal or EntryRefusedError("unavailable", "the fork server was killed")
        return pid

    async def completed(self) -> None:
        """Wait for the end of a built-in operation.

        Raises:
            EntryRefusedError: it was refused or failed.
        """
        code = await asyncio.shield(self.exit_code)
        if code != 0:
            raise self._refusal or EntryRefusedError("aborted", "the operation was cut off")

    def send_signal(self, number: signal.Signals) -> None:
        """SIGTERM or SIGKILL to its process group; nothing happens after it ended."""
        order = b"K" if number == signal.SIGKILL else b"T"
        with contextlib.suppress(OSError):
            self._channel.send(order)

    def close(self) -> None:
        """Stop listening; the process is not touched."""
        self._finish()

    def _receive(self) -> None:
        try:
            data = self._channel.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._finish()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, report: dict[str, Any]) -> None:
        if "child" in report:
            self.child = report["child"]
        elif "start" in report:
            self._settle(self._pid, report["start"])
        elif "refused" in report:
            self._refusal = EntryRefusedError(report["refused"], report["message"])
        elif "exit" in report:
            self._settle(self.exit_code, report["exit"])
            self._finish()

    def _finish(self) -> None:
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel)
            self._channel.close()
        self._settle(self._pid, None)
        self._settle(self.exit_code, None)

    @staticmethod
    def _settle(future: asyncio.Future[int | None], value: int | None) -> None:
        if not future.done():
            future.set_result(value)


class Entrance:
    """The fork server, started again whenever it is found dead.

    What was being handed over to a server that was killed is refused as `unavailable`.
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(self) -> None:
        """Start the fork server. Its environment is empty: its forks are what agents see first."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-S", "-X", "utf8", "-m", _SERVER, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={"PYTHONPATH": str(_PACKAGE_PARENT)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._requests = ours

    def stop(self) -> None:
        """End the fork server; processes that it started stay."""
        if self._requests is not None:
            self._requests.close()
        if self._server is not None:
            self._server.wait()
        self._server = self._requests = None

    def enter(
        self, pidfd: int, request: dict[str, Any], streams: Streams, *, host_network: bool
    ) -> EnteredProcess:
        """Start a process in the sandbox whose first process is behind `pidfd`.

        `request` is either a command (`arguments`, `environment`, `directory`, `user`) or a
        built-in `operation` with its arguments. The streams stay open here: the caller closes them.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        payload = os.memfd_create("request", os.MFD_CLOEXEC)
        with theirs:
            try:
                content = json.dumps({**request, "host_network": host_network}).encode()
                with open(payload, "wb", closefd=False) as file:
                    file.write(content)
                os.lseek(payload, 0, os.SEEK_SET)
                self._send([payload, pidfd, theirs.fileno(), *streams])
            except BaseException:
                ours.close()
                raise
            finally:
                os.close(payload)
        return EnteredProcess(ours)

    def _send(self, descriptors: list[int]) -> None:
        for is_last in (False, True):
            if self._requests is None:
                self.start()
            assert self._requests is not None
            try:
                socket.send_fds(self._requests, [b"e"], descriptors)
                return
            except OSError:
                self.stop()
                if is_last:
                    raise
