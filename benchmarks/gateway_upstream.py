"""The model server of the gateway's benchmark: one fixed reply, at the speed of a bare protocol.

It runs no model and reads of a request only its length and whether it wants a stream. What it does
next is told by its control routes: `/hold` keeps replies back until `/release`, `/waiting` says how
many are kept back, `/pace/MILLISECONDS` puts a pause between the pieces of a stream.

    python benchmarks/gateway_upstream.py
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final, cast

from gateway_bodies import reply_events, whole_reply

_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_STREAM: Final = re.compile(rb'"stream":\s*true')
_JSON_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_REFUSED: Final = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def _whole(body: bytes) -> bytes:
    return _JSON_HEAD % len(body) + body


def _chunked(pieces: tuple[bytes, ...]) -> list[bytes]:
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [_STREAM_HEAD + chunks[0], *chunks[1:-1], chunks[-1] + b"0\r\n\r\n"]


REPLY: Final = _whole(whole_reply())
EVENTS: Final = _chunked(reply_events())


@dataclass
class Behaviour:
    """How all connections answer now."""

    holding: bool = False
    pace_seconds: float = 0.0
    waiting: "list[tuple[Connection, bool]]" = field(
        default_factory=lambda: list[tuple["Connection", bool]]()
    )

    def control(self, path: bytes) -> bytes:
        """Do what a control route says. Returns the answer's body."""
        name, _, value = path.strip(b"/").partition(b"/")
        if name == b"hold":
            self.holding = True
        elif name == b"release":
            self.holding = False
            for connection, streamed in self.waiting:
                connection.answer(streamed=streamed)
            self.waiting.clear()
        elif name == b"pace":
            self.pace_seconds = float(value) / 1000
        return b"%d" % len(self.waiting)


class Connection(asyncio.Protocol):
    """One client's connection; requests on it come one after another."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) < self._expected:
            return
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end])
        length = _LENGTH.search(head)
        if length is None and head.startswith(b"POST"):
            self._write(_REFUSED)
            return
        self._expected = end + 4 + (int(length.group(1)) if length else 0)
        if len(self._received) >= self._expected:
            request = bytes(self._received)
            self._received.clear()
            self._expected = 0
            self._take(request, head.split(b" ", 2)[1])

    def answer(self, *, streamed: bool) -> None:
        """Send the reply."""
        if not streamed:
            self._write(REPLY)
        elif self._behaviour.pace_seconds:
            self._step(0)
        else:
            for event in EVENTS:
                self._write(event)

    def _take(self, request: bytes, path: bytes) -> None:
        if not path.endswith(b"/chat/completions"):
            self._write(_whole(self._behaviour.control(path)))
            return
        streamed = _STREAM.search(request) is not None
        if self._behaviour.holding:
            self._behaviour.waiting.append((self, streamed))
        else:
            self.answer(streamed=streamed)

    def _step(self, number: int) -> None:
        """The next piece of a stream, and then a pause."""
        self._write(EVENTS[number])
        if number + 1 < len(EVENTS):
            loop = asyncio.get_running_loop()
            loop.call_later(self._behaviour.pace_seconds, self._step, number + 1)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def main() -> None:
    """Serve on a free port of 127.0.0.1 until killed."""
    behaviour = Behaviour()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(behaviour), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", flush=True)  # noqa: T201  its one output
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
