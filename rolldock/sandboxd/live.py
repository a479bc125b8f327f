"""One running sandbox as sandboxd holds it: its first process, and what may be done inside.

It does not decide when a sandbox begins or ends; that is `fleet.py`.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from typing import Any, Final, NamedTuple

from rolldock.sandboxd import processes
from rolldock.sandboxd.cgroups import Group
from rolldock.sandboxd.entrance import EnteredProcess, Entrance, EntryRefusedError, Streams
from rolldock.sandboxd.network import GATEWAY_HOST, GATEWAY_PORT
from rolldock.sandboxd.pipes import PipeReader, read_line
from rolldock.sandboxd.processes import ProcessIdentity
from rolldock.sandboxd.records import Ending, Network, Status

_LISTEN_BACKLOG: Final = 128
_KILL_WAIT_SECONDS: Final = 5
_MEMORY_LOOK_SECONDS: Final = 1.0


class SandboxGoneError(Exception):
    """Raised when the sandbox ended while, or before, something was done in it."""


OUT_OF_MEMORY: Final = Ending(Status.ERROR, "OOM_KILLED", "it ran out of memory")
_DIED: Final = Ending(Status.ERROR, "SANDBOX_DIED", "its first process ended by itself")


class FirstProcess(NamedTuple):
    """The process that a sandbox lives and dies with."""

    identity: ProcessIdentity
    pidfd: int
    launcher: subprocess.Popen[bytes] | None
    """bwrap, where it is a child of this sandboxd and must be reaped."""


class LiveSandbox:
    """A sandbox whose first process is alive, or was a moment ago."""

    def __init__(
        self,
        sandbox_id: str,
        network: Network,
        process: FirstProcess,
        entrance: Entrance,
        group: Group,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id = sandbox_id
        self.host_network = network == Network.HOST
        self.ended = asyncio.Event()
        """Its first process is gone, and with it every process inside."""
        self.ending: asyncio.Future[Ending] = loop.create_future()
        """Why it ends; once it is set nothing may enter any more. The first reason stands."""
        self.disk_full = False
        """Told to be: uploads fail. What runs inside has no limit to run into."""
        self._process = process
        self._pidfd = process.pidfd
        self._entrance = entrance
        self.group = group
        loop.add_reader(self._pidfd, self._notice_end)
        self._next_look = loop.call_soon(self._look_regularly)

    def end(self, ending: Ending) -> None:
        """Ask for its end; nothing happens if it is ending already."""
        if not self.ending.done():
            self.ending.set_result(ending)

    def kill(self) -> None:
        """End every process in it; `ended` follows."""
        processes.kill_pidfd(self._pidfd)

    def look_at_memory(self) -> None:
        """End it if the kernel killed any process of it for memory."""
        if not self.ending.done() and self.group.ran_out_of_memory():
            self.end(OUT_OF_MEMORY)

    async def release(self) -> None:
        """Give up what is held of an ended sandbox."""
        self.forget()
        if self._process.launcher is not None:
            await asyncio.to_thread(self._process.launcher.wait)

    def forget(self) -> None:
        """Let go of a sandbox that goes on living."""
        self._next_look.cancel()
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def enter(self, request: dict[str, Any], streams: Streams) -> EnteredProcess:
        """Start a process in it. The caller closes the streams.

        Raises:
            SandboxGoneError: it is ending or has ended.
        """
        if self.ending.done():
            raise SandboxGoneError(self.id)
        request = {**request, "groups": self.group.entry}
        process = self._entrance.enter(
            self._pidfd, request, streams, host_network=self.host_network
        )
        # Before whoever asked for the process is told how it ended.
        process.exit_code.add_done_callback(lambda _: self.look_at_memory())
        return process

    def operate(self, request: dict[str, Any]) -> "Operation":
        """Start a built-in operation in it."""
        return Operation(self, request)

    async def kill_command(self, process: EnteredProcess, marker: str) -> None:
        """End a command with all that it started, and wait until it has ended."""
        child = None if process.exit_code.done() else process.child
        namespace = self._process.identity.namespace
        await asyncio.to_thread(processes.kill_command, child, marker.encode(), namespace)
        process.send_signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_WAIT_SECONDS):
                await asyncio.shield(process.exit_code)

    async def listen(self) -> int:
        """A socket that listens on the gateway's address as this sandbox sees it.

        Raises:
            EntryRefusedError: the address is taken.
        """
        if self.host_network:
            return _listen_here()
        ours, theirs = socket.socketpair()
        null = os.open(os.devnull, os.O_RDWR)
        request = {"host": GATEWAY_HOST, "port": GATEWAY_PORT, "backlog": _LISTEN_BACKLOG}
        with ours:
            with theirs:
                streams = Streams(null, theirs.fileno(), null)
                process = self.enter({"operation": "listen", **request}, streams)
                os.close(null)
            await process.completed()
            _, passed, _, _ = socket.recv_fds(ours, 64, 1)
        return passed[0]

    def _notice_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self.look_at_memory()
        self.ended.set()
        self.end(_DIED)

    def _look_regularly(self) -> None:
        self.look_at_memory()
        if not self.ending.done():
            loop = asyncio.get_running_loop()
            self._next_look = loop.call_later(_MEMORY_LOOK_SECONDS, self._look_regularly)


def _listen_here() -> int:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((GATEWAY_HOST, GATEWAY_PORT))
        listener.listen(_LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        address = f"{GATEWAY_HOST}:{GATEWAY_PORT}"
        raise EntryRefusedError("address_in_use", f"{address}: {error.strerror}") from error
    return listener.detach()


class Operation:
    """A built-in operation with its input and output; used as a context manager."""

    def __init__(self, sandbox: LiveSandbox, request: dict[str, Any]) -> None:
        self._sandbox = sandbox
        stdin, self.input = os.pipe()
        output, stdout = os.pipe()
        self.output = PipeReader(output)
        os.set_blocking(self.input, False)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            self._process = sandbox.enter(request, Streams(stdin, stdout, null))
        except BaseException:
            self.output.close()
            os.close(self.input)
            raise
        finally:
            for descriptor in (stdin, stdout, null):
                os.close(descriptor)

    async def __aenter__(self) -> "Operation":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close_input()
        self._process.send_signal(signal.SIGKILL)
        self._process.close()
        self.output.close()

    def close_input(self) -> None:
        """No more input."""
        if self.input >= 0:
            os.close(self.input)
            self.input = -1

    async def header(self) -> tuple[bytes, bytes]:
        """The reply's line of JSON, and what was read of the content after it.

        Raises:
            EntryRefusedError: the operation was refused.
            SandboxGoneError: the sandbox ended meanwhile.
        """
        line, rest = await read_line(self.output)
        # A reply may tell of a process that was killed for memory: a job's exit code 137.
        self._sandbox.look_at_memory()
        if self._sandbox.ending.done():
            raise SandboxGoneError(self._sandbox.id)
        if line:
            return line, rest
        try:
            await self._process.completed()
        except EntryRefusedError as refusal:
            if self._sandbox.ending.done():
                raise SandboxGoneError(self._sandbox.id) from refusal
            raise
        raise EntryRefusedError("aborted", "the operation ended without a reply")

    async def content(self, rest: bytes) -> bytes:
        """All that follows the header."""
        parts = [rest]
        while data := await self.output.read():
            parts.append(data)
        return b"".join(parts)
