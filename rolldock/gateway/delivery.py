"""How an answer reaches the agent, and whether its last byte did.

Held: nothing is sent, not even a status, until the turn is stored, so that a gateway's death looks
like a failed connect; after the hold a stream is opened and kept alive. Live: pieces pass at once,
the terminal events wait for the store. A caller that does not stream is held for ever.
"""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from rolldock.errors import UnavailableError
from rolldock.gateway.calls import Answer
from rolldock.gateway.dialects.base import EVENTS_TYPE, Dialect
from rolldock.gateway.refusals import RefusedError
from rolldock.gateway.slots import Call
from rolldock.gateway.sse import KEEP_ALIVE
from rolldock.models.session import TurnError


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was sent."""

    response: web.StreamResponse
    complete: bool
    """Whether the last byte left this process."""


def watch_writes(request: web.Request) -> asyncio.Transport:
    """The connection of a request, set so that a drained write has left this process.

    Raises:
        ConnectionResetError: the client is gone already.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    transport.set_write_buffer_limits(0)
    return transport


async def send_whole(request: web.Request, answer: Answer) -> Delivered:
    """Status, headers and body at once."""
    headers = {"Content-Type": answer.content_type}
    if answer.content_type == EVENTS_TYPE:
        headers["Cache-Control"] = "no-cache"
    if answer.status >= 500:
        # The gateway has retried already, for longer than any client would.
        headers["x-should-retry"] = "false"
    body = answer.body if answer.tail is None else answer.tail
    response = web.Response(status=answer.status, body=body, headers=headers)
    try:
        await response.prepare(request)
        await response.write_eof()
        return Delivered(response, await _left(request))
    except ConnectionError:
        return Delivered(response, complete=False)


async def deliver_whole(request: web.Request, call: Call) -> Delivered:
    """To a caller that does not stream.

    Raises:
        UnavailableError: the store failed before there was an answer.
    """
    return await send_whole(request, await asyncio.shield(call.answer))


class StreamDelivery:
    """To a caller that streams."""

    def __init__(
        self,
        request: web.Request,
        call: Call,
        dialect: Dialect,
        hold_seconds: float,
        keep_alive_seconds: float,
    ) -> None:
        self._request = request
        self._call = call
        self._dialect = dialect
        self._keep_alive_seconds = keep_alive_seconds
        self._hold_until = asyncio.get_running_loop().time() + hold_seconds
        self._response = web.StreamResponse(
            headers={"Content-Type": EVENTS_TYPE, "Cache-Control": "no-cache"}
        )
        self._sent = 0

    async def run(self) -> Delivered:
        """Send until the end, or until the client is gone.

        Raises:
            UnavailableError: the store failed before anything was sent.
        """
        try:
            await self._until_answered()
            if not self._response.prepared:
                return await send_whole(self._request, await asyncio.shield(self._call.answer))
            await self._response.write(self._ending())
            await self._response.write_eof()
            return Delivered(self._response, await _left(self._request))
        except ConnectionError:
            return Delivered(self._response, complete=False)

    async def _until_answered(self) -> None:
        """Pass on what comes; once the hold is over, never be silent for long."""
        answer, relay = self._call.answer, self._call.relay
        while True:
            pieces = relay.pieces[self._sent :] if relay is not None else []
            if pieces:
                await self._write(b"".join(pieces))
                self._sent += len(pieces)
                continue
            if answer.done():
                return
            waiting: set[asyncio.Future[Answer] | asyncio.Future[None]] = {answer}
            if relay is not None:
                waiting.add(relay.grown())
            done, _ = await asyncio.wait(
                waiting, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                await self._write(KEEP_ALIVE)

    def _patience(self) -> float:
        if self._response.prepared:
            return self._keep_alive_seconds
        return max(0.0, self._hold_until - asyncio.get_running_loop().time())

    async def _write(self, piece: bytes) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)
        await self._response.write(piece)

    def _ending(self) -> bytes:
        """What closes a stream that has begun."""
        try:
            answer = self._call.answer.result()
        except UnavailableError as error:
            return self._error(str(error))
        if isinstance(answer.reply, TurnError):
            return self._dialect.error_event(answer.body)
        if answer.tail is not None:
            return answer.tail
        if self._sent:
            return self._error("another gateway has answered this call")
        return answer.body

    def _error(self, message: str) -> bytes:
        refused = RefusedError(503, "store_unavailable", message, "rolldock_error")
        return self._dialect.error_event(self._dialect.refusal(refused))


async def _left(request: web.Request) -> bool:
    """Whether all that was written has left; called with no wait after the last write."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return False
    if transport.get_write_buffer_size():
        await request.writer.drain()
    return True
