"""sandboxd's side of the forwarder: finds the one that runs, or starts it, and tells it what to do.

The forwarder is detached on purpose: see `forwarder.py`.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from rolldock.errors import RolldockError

_FORWARDER: Final = "rolldock.sandboxd.forwarder"
_PACKAGE_PARENT: Final = Path(__file__).parents[2]
_CONTROL: Final = "forwarder.sock"
_BACKLOG: Final = 4
_REPLY_BYTES: Final = 1 << 20
_REPLY_TIMEOUT_SECONDS: Final = 10


class ForwarderLostError(RolldockError):
    """Raised when the forwarder went away in the middle of a request."""


class Forwarding:
    """The control connection. One task at a time reopens it."""

    def __init__(self, state_dir: Path, host: str, port: int) -> None:
        self._state_dir = state_dir
        self._target = (host, port)
        self._channel: socket.socket | None = None
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.lost = asyncio.Event()
        """Set when the forwarder has died; `open` starts another, which listens for nobody yet."""

    async def open(self) -> list[str]:
        """Connect to the running forwarder or a new one. Returns the ids it listens for."""
        self.close()
        channel = self._connect()
        channel.setblocking(False)
        self._channel = channel
        self._replies = asyncio.Queue()
        self.lost.clear()
        asyncio.get_running_loop().add_reader(channel, self._receive, channel)
        host, port = self._target
        return (await self._request({"op": "target", "host": host, "port": port}))["ids"]

    async def add(self, name: str, listener: int) -> None:
        """Let the forwarder serve a listening socket. The descriptor is closed here.

        Raises:
            ForwarderLostError: it died; once it is open again, add anew.
        """
        try:
            await self._request({"op": "add", "id": name}, [listener])
        finally:
            os.close(listener)

    async def remove(self, name: str) -> None:
        """End a sandbox's listener and connections; nothing happens if there are none.

        Raises:
            ForwarderLostError: it died, and the listeners with it.
        """
        await self._request({"op": "remove", "id": name})

    async def stop(self) -> None:
        """End the forwarder.

        Raises:
            ForwarderLostError: it was dead already.
        """
        await self._request({"op": "stop"})
        self.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    def close(self) -> None:
        """Leave the forwarder running."""
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._channel = None

    def _receive(self, channel: socket.socket) -> None:
        try:
            data = channel.recv(_REPLY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self.lost.set()
        self._replies.put_nowait(data)

    async def _request(
        self, message: dict[str, Any], passed: list[int] | None = None
    ) -> dict[str, Any]:
        async with self._turn:
            if self._channel is None:
                raise ForwarderLostError("the forwarder is not running")
            reply = b""
            try:
                socket.send_fds(self._channel, [json.dumps(message).encode()], passed or [])
                async with asyncio.timeout(_REPLY_TIMEOUT_SECONDS):
                    reply = await self._replies.get()
            except OSError as error:
                raise ForwarderLostError(f"the forwarder does not answer: {error}") from error
            finally:
                if not reply:
                    # A late reply would be taken for that of the next request.
                    self.close()
                    self.lost.set()
            if not reply:
                raise ForwarderLostError("the forwarder died")
            return json.loads(reply)

    def _connect(self) -> socket.socket:
        # Through a descriptor: the directory's own path may exceed the kernel's limit for sockets.
        directory = os.open(self._state_dir, os.O_RDONLY | os.O_DIRECTORY)
        address = f"/proc/self/fd/{directory}/{_CONTROL}"
        try:
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                channel.connect(address)
            except OSError:
                self._start(address)
                channel.connect(address)
            return channel
        finally:
            os.close(directory)

    def _start(self, address: str) -> None:
        if self._process is not None:
            self._process.wait()
        if os.path.lexists(address):
            os.unlink(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(address)
            listener.listen(_BACKLOG)
            self._process = subprocess.Popen(
                # The directory is for whoever reads a list of processes: whose forwarder it is.
                [
                    sys.executable,
                    "-S",
                    "-m",
                    _FORWARDER,
                    str(listener.fileno()),
                    str(self._state_dir),
                ],
                stdin=subprocess.DEVNULL,
                # A pipe of ours would break when we go; it has nothing to say.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PYTHONPATH": str(_PACKAGE_PARENT)},
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
