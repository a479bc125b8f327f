"""What stands between a handler's answer and its connection: it drops, cuts or holds the answer.

At the transport, so that it makes no difference who writes or whether the answer is streamed. An
answer begins with the first byte of its body: servers send a stream's headers before they act.
"""

import asyncio
from abc import abstractmethod
from typing import Any, Final

from aiohttp.web_protocol import RequestHandler

from rolldock.faults.transport import PassingTransport

_HEAD_END: Final = b"\r\n\r\n"


class Gate(PassingTransport):
    """Keeps what is written until the answer begins; a subclass says what happens then."""

    def __init__(self, protocol: RequestHandler, behind: asyncio.Transport) -> None:
        super().__init__(behind)
        self._protocol = protocol
        self._held = bytearray()
        self._begun = False
        self._is_handled = False
        protocol.transport = self

    def handled(self) -> None:
        """The handler has returned: whatever is written now or was is the answer."""
        self._is_handled = True
        if self._held and not self._begun:
            self._start()

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """Keep the head; the rest is the subclass's business."""
        if self._begun:
            self._go_on(bytes(data))
            return
        self._held.extend(data)
        if self._is_handled or self._n_body() > 0:
            self._start()

    def get_write_buffer_size(self) -> int:
        """What has not left yet, here or behind."""
        return len(self._held) + self.behind.get_write_buffer_size()

    def _n_body(self) -> int:
        head, end, body = self._held.partition(_HEAD_END)
        return len(body) if head and end else 0

    def _start(self) -> None:
        self._begun = True
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """The answer has begun; what is held is its head and perhaps some of its body."""

    @abstractmethod
    def _go_on(self, data: bytes) -> None:
        """More of an answer that has begun."""


class DropGate(Gate):
    """Closes the connection instead of beginning an answer."""

    def _begin(self) -> None:
        self._held.clear()
        self.behind.abort()

    def _go_on(self, data: bytes) -> None:
        """Too late: nobody listens."""


class CutGate(Gate):
    """Closes the connection after so many bytes of the body."""

    def __init__(
        self,
        protocol: RequestHandler,
        behind: asyncio.Transport,
        n_bytes: int,
    ) -> None:
        super().__init__(protocol, behind)
        self._left_bytes = n_bytes

    def _begin(self) -> None:
        head, end, body = bytes(self._held).partition(_HEAD_END)
        self._held.clear()
        self.behind.write(head + end)
        self._go_on(body)

    def _go_on(self, data: bytes) -> None:
        if self.behind.is_closing():
            return
        self.behind.write(data[: self._left_bytes])
        if len(data) > self._left_bytes:
            self.behind.close()
        self._left_bytes -= min(len(data), self._left_bytes)


class HoldGate(Gate):
    """Lets an answer leave so many seconds after it began; its writers wait in `drain`."""

    def __init__(
        self,
        protocol: RequestHandler,
        behind: asyncio.Transport,
        seconds: float,
    ) -> None:
        super().__init__(protocol, behind)
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._paused_writers = False

    def close(self) -> None:
        """What is held is lost."""
        self._release(lost=True)
        self.behind.close()

    def abort(self) -> None:
        """What is held is lost."""
        self._release(lost=True)
        self.behind.abort()

    def _begin(self) -> None:
        if not self._protocol.writing_paused:
            self._protocol.pause_writing()
            self._paused_writers = True
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._release)

    def _go_on(self, data: bytes) -> None:
        if self._timer is None:
            self.behind.write(data)
        else:
            self._held.extend(data)

    def _release(self, *, lost: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held = bytes(self._held)
        self._held.clear()
        if self._protocol.transport is self:
            self._protocol.transport = self.behind
        # Before the write, which may pause the writers for a reason of its own.
        if self._paused_writers:
            self._paused_writers = False
            self._protocol.resume_writing()
        if not lost and not self.behind.is_closing():
            self.behind.write(held)
