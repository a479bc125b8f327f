"""Reading and writing pipes from the event loop, with nothing between us and the kernel's buffer.

asyncio's streams read ahead, and its subprocess waits for pipes that a grandchild holds open; here
a reader is told when the process ended and stops at what the pipe still holds.
"""

import asyncio
import os
from typing import Final

CHUNK_BYTES: Final = 1 << 16
_LULL_SECONDS: Final = 0.1
"""After the process ended: how long its pipe may be silent before it counts as drained."""
_LATE_BYTES: Final = 1 << 20
"""After the process ended: at most this much more is read. A pipe holds 64 KiB."""


class PipeReader:
    """The read end of a pipe. It is read by one task at a time."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._wakeup: asyncio.Future[None] | None = None
        self._ended = False
        self._late_bytes = 0

    def process_ended(self) -> None:
        """From now on only what is in the pipe is read: a grandchild may hold it open for ever."""
        self._ended = True
        self._wake()

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""
        while True:
            try:
                data = os.read(self._descriptor, CHUNK_BYTES)
            except BlockingIOError:
                if not await self._readable():
                    return b""
                continue
            self._late_bytes += len(data) if self._ended else 0
            return data if self._late_bytes <= _LATE_BYTES else b""

    def close(self) -> None:
        """Close the descriptor. Nobody may be reading."""
        os.close(self._descriptor)

    async def _readable(self) -> bool:
        """Wait for data. False: the process ended and the pipe stayed silent."""
        loop = asyncio.get_running_loop()
        was_ended = self._ended
        self._wakeup = loop.create_future()
        loop.add_reader(self._descriptor, self._wake)
        try:
            async with asyncio.timeout(_LULL_SECONDS if was_ended else None):
                await self._wakeup
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._descriptor)
        return True

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


async def read_line(reader: PipeReader) -> tuple[bytes, bytes]:
    """The first line and what was read after it. The line is empty if the pipe ended before."""
    buffer = b""
    while b"\n" not in buffer and len(buffer) < CHUNK_BYTES:
        data = await reader.read()
        if not data:
            return b"", buffer
        buffer += data
    line, _, rest = buffer.partition(b"\n")
    return line, rest


async def write_all(descriptor: int, data: bytes) -> None:
    """Write everything to a non-blocking descriptor.

    Raises:
        BrokenPipeError: nobody reads the other end.
    """
    view = memoryview(data)
    loop = asyncio.get_running_loop()
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            writable: asyncio.Future[None] = loop.create_future()
            loop.add_writer(descriptor, _complete, writable)
            try:
                await writable
            finally:
                loop.remove_writer(descriptor)


def _complete(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
