"""The load generator of the gateway's benchmark: closed loops over bare connections.

Each connection plays one session after another, request by request; what it sends is made before.
Reads a `Load` as JSON from its first line of input, warms up, prints `ready`, waits for another
line and prints a `Measured` as JSON. Nothing is started or configured here.
"""

import asyncio
import re
import sys
import time
from dataclasses import dataclass
from typing import Final, cast

import orjson
from gateway_bodies import REPLY_TEXT, TURNS_PER_SESSION, session_bodies

CHAT_PATH: Final = "/v1/chat/completions"

_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_MARKS: Final = (REPLY_TEXT[-5:].encode(), b"[DONE]")
"""Of a whole reply and of a stream: something that a good one has near its end."""
_FIRST_PIECE: Final = b'"content":"' + REPLY_TEXT[:3].encode()


@dataclass(frozen=True, slots=True)
class Load:
    """What to send."""

    port: int
    keys: list[str]
    """One per session: what its requests give as API key."""
    n_bytes: int
    streamed: bool
    n_connections: int
    warm_sessions: int
    """Of `keys`, how many are for warming up."""
    n_turns: int = TURNS_PER_SESSION
    """Of each session, how many are asked for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it; times in seconds, one per request."""

    seconds: float
    latencies: list[float]
    first_tokens: list[float]
    """Of streams: until the first piece of text was there."""


class BadReplyError(Exception):
    """Raised when a server under test answers with something else than the reply."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._n_expected: int | None = None
        self._done: asyncio.Future[None] | None = None
        self.first_token_at = 0.0

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.first_token_at and _FIRST_PIECE in self._received:
            self.first_token_at = time.perf_counter()
        if self._complete() and self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def ask(self, request: bytes, mark: bytes) -> None:
        """Send a request and wait for the end of its reply.

        Raises:
            BadReplyError: it is not the reply.
        """
        assert self._transport is not None
        self._received.clear()
        self._n_expected = None
        self.first_token_at = 0.0
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._done
        good = self._received.startswith(b"HTTP/1.1 200") and mark in self._received
        if not good:
            raise BadReplyError(bytes(self._received[:600]).decode(errors="replace"))

    def _complete(self) -> bool:
        if self._n_expected is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self._received, 0, end)
            self._n_expected = end + 4 + int(length.group(1)) if length else 0
        if self._n_expected:
            return len(self._received) >= self._n_expected
        return self._received.endswith(_LAST_CHUNK)


class Player:
    """Plays sessions over one connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._bodies = session_bodies(load.n_bytes, streamed=load.streamed).bodies[: load.n_turns]
        self._mark = _MARKS[load.streamed]
        self._connection = Connection()
        self.latencies: list[float] = []
        self.first_tokens: list[float] = []

    async def play(self, keys: list[str]) -> None:
        """Take sessions off the list until it is empty.

        Raises:
            BadReplyError: a reply is not the expected one.
        """
        while keys:
            head = self._head(keys.pop())
            for body in self._bodies:
                request = head % len(body) + body
                began = time.perf_counter()
                if not self._connection.open:
                    await self._connect()
                await self._connection.ask(request, self._mark)
                self.latencies.append(time.perf_counter() - began)
                if self._connection.first_token_at:
                    self.first_tokens.append(self._connection.first_token_at - began)

    def _head(self, key: str) -> bytes:
        lines = (
            f"POST {CHAT_PATH} HTTP/1.1",
            f"Host: 127.0.0.1:{self._load.port}",
            f"Authorization: Bearer {key}",
            "Content-Type: application/json",
            "Content-Length: %d",
            "x-stainless-retry-count: 0",
        )
        return "\r\n".join((*lines, "", "")).encode()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(Connection, "127.0.0.1", self._load.port)


async def measure(load: Load) -> Measured:
    """Warm up, wait for the sign, play all.

    Raises:
        BadReplyError: a reply is not the expected one.
    """
    players = [Player(load) for _ in range(load.n_connections)]
    warm, keys = load.keys[: load.warm_sessions], load.keys[load.warm_sessions :]
    await asyncio.gather(*(player.play(warm) for player in players))
    for player in players:
        player.latencies.clear()
        player.first_tokens.clear()
    print("ready", flush=True)  # noqa: T201  what the caller waits for
    sys.stdin.readline()
    began = time.perf_counter()
    await asyncio.gather(*(player.play(keys) for player in players))
    return Measured(
        seconds=time.perf_counter() - began,
        latencies=[one for player in players for one in player.latencies],
        first_tokens=[one for player in players for one in player.first_tokens],
    )


def main() -> int:
    """Returns the exit code: 1 if a reply was not the expected one."""
    load = Load(**orjson.loads(sys.stdin.readline()))
    try:
        measured = asyncio.run(measure(load))
    except BadReplyError as error:
        print(f"unexpected reply: {error}", file=sys.stderr)  # noqa: T201  a command's error
        return 1
    sys.stdout.buffer.write(orjson.dumps(measured) + b"\n")
    return 0


def n_requests(load: Load) -> int:
    """How many requests are measured."""
    return (len(load.keys) - load.warm_sessions) * load.n_turns


if __name__ == "__main__":
    sys.exit(main())
