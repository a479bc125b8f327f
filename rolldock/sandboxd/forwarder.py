"""The forwarder: one process that carries connections from sandboxes to the gateway.

It outlives sandboxd, so that agents keep their gateway while sandboxd restarts. It enters nothing:
sandboxd makes each listening socket inside the sandbox and passes it over the control socket.

Control messages are JSON, one per packet, each answered by one:
    {"op": "target", "host", "port"}   where connections go from now on
    {"op": "add", "id"} + a socket     listen for a sandbox
    {"op": "remove", "id"}             stop listening, cut its connections
    {"op": "list"}                     the ids it listens for
    {"op": "stop"}                     end
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from typing import Any, Final

_CHUNK_BYTES: Final = 1 << 16
_MESSAGE_BYTES: Final = 1 << 20
_BACKLOG: Final = 4


class Forwarder:
    """The listening sockets and the connections through them."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self.n_controls = 0
        self._target: tuple[str, int] = ("127.0.0.1", 0)
        self._servers: dict[str, asyncio.Server] = {}
        self._connections: dict[str, set[asyncio.Task[None]]] = {}

    async def handle(self, message: dict[str, Any], passed: list[int]) -> dict[str, Any]:
        """Do what a control message says."""
        operation = message["op"]
        if operation == "target":
            self._target = (message["host"], message["port"])
        elif operation == "add":
            await self._add(message["id"], socket.socket(fileno=passed.pop()))
        elif operation == "remove":
            await self._remove(message["id"])
        elif operation == "stop":
            self.stopped.set()
        for descriptor in passed:
            os.close(descriptor)
        return {"ids": list(self._servers)}

    def end_if_unused(self) -> None:
        """Stop where nobody is connected, neither a sandbox nor a sandboxd: it was killed."""
        if not self.n_controls and not self._servers:
            self.stopped.set()

    async def close(self) -> None:
        """Cut everything."""
        for name in list(self._servers):
            await self._remove(name)

    async def _add(self, name: str, listener: socket.socket) -> None:
        await self._remove(name)
        listener.setblocking(False)
        connections = self._connections.setdefault(name, set())

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            task.add_done_callback(connections.discard)
            await self._carry(reader, writer)

        self._servers[name] = await asyncio.start_server(
            connected, sock=listener, limit=_CHUNK_BYTES
        )

    async def _remove(self, name: str) -> None:
        server = self._servers.pop(name, None)
        if server is not None:
            server.close()
        connections = self._connections.pop(name, set[asyncio.Task[None]]())
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(*self._target, limit=_CHUNK_BYTES)
        except OSError:
            # To the client this is a failed connection, which it retries.
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, upstream[1]))
                group.create_task(_copy(upstream[0], writer))
        except* OSError:
            writer.transport.abort()
            upstream[1].transport.abort()
        finally:
            writer.close()
            upstream[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, then close that half."""
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def _serve_control(forwarder: Forwarder, channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with channel:
        while not forwarder.stopped.is_set():
            readable = loop.create_future()
            loop.add_reader(channel, lambda done=readable: done.done() or done.set_result(None))
            try:
                await readable
            finally:
                loop.remove_reader(channel)
            try:
                message, passed, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 1)
                if not message:
                    return
                reply = await forwarder.handle(json.loads(message), list(passed))
                channel.send(json.dumps(reply).encode())
            except OSError:
                # sandboxd went away, or reads the closed channel as a failure.
                return


async def _accept_control(forwarder: Forwarder, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        while True:
            channel, _ = await loop.sock_accept(listener)
            channel.setblocking(False)
            group.create_task(_control(forwarder, channel))


async def _control(forwarder: Forwarder, channel: socket.socket) -> None:
    forwarder.n_controls += 1
    try:
        await _serve_control(forwarder, channel)
    finally:
        forwarder.n_controls -= 1
        forwarder.end_if_unused()


async def _run(listener: socket.socket) -> None:
    forwarder = Forwarder()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    listener.setblocking(False)
    accepting = asyncio.ensure_future(_accept_control(forwarder, listener))
    stopped = asyncio.ensure_future(forwarder.stopped.wait())
    await asyncio.wait({accepting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    await forwarder.close()
    accepting.cancel()
    await asyncio.gather(accepting, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(_run(socket.socket(fileno=int(sys.argv[1]))))
