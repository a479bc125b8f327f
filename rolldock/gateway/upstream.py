"""Calls to model servers, and the one rule by which they are made again.

Retried: 429, 5xx, a lost connection, a stall. Everything else the model server says passes
through. One deadline bounds a call with all its retries; time that an endpoint is paused does not
count. What bodies mean is not known here.
"""

import asyncio
import io
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import aiohttp

from rolldock.gateway.endpoints import Target
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.models.base import JsonObject

_FIRST_DELAY_SECONDS: Final = 0.25
_LAST_DELAY_SECONDS: Final = 15.0
_LONGEST_RETRY_AFTER_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 10.0
_CHUNK_BYTES: Final = 64 * 1024
_LARGE_BYTES: Final = 1024 * 1024
"""From here on a body is written in pieces, so that the event loop goes on meanwhile."""
_KEPT_BYTES: Final = 64 * 1024
"""Of an error body: it is recorded and passed on."""

Answer = TypeVar("Answer")


class TryFailedError(Exception):
    """Raised when one try got no reply that can be used."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retryable: bool,
        upstream_status: int | None = None,
        body: JsonObject | None = None,
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        """What the agent gets if this was the last try."""
        self.message = message
        self.retryable = retryable
        self.upstream_status = upstream_status
        self.body = body
        self.retry_after_seconds = retry_after_seconds


class Upstream:
    """Model servers, over one connection pool."""

    def __init__(
        self, http: aiohttp.ClientSession, total_seconds: float, stall_seconds: float
    ) -> None:
        self._http = http
        self._total_seconds = total_seconds
        self._stall_seconds = stall_seconds

    async def retrying(
        self,
        prepare: Callable[[], Awaitable[Target]],
        once: Callable[[Target], Awaitable[Answer]],
    ) -> Answer:
        """Call `once` until it answers, each time on the target that `prepare` waits for.

        Raises:
            TryFailedError: the last try's, when it may not be retried or the time is up.
        """
        loop = asyncio.get_running_loop()
        spent, tries = 0.0, 0
        while True:
            target = await prepare()
            started = loop.time()
            try:
                async with asyncio.timeout(self._total_seconds - spent):
                    return await once(target)
            except TimeoutError:
                message = f"no reply from {target.url} within {self._total_seconds:g} s"
                raise TryFailedError(504, message, retryable=False) from None
            except TryFailedError as failed:
                delay = max(_delay(tries), failed.retry_after_seconds)
                spent += loop.time() - started + delay
                tries += 1
                if not failed.retryable or spent >= self._total_seconds:
                    raise
            await asyncio.sleep(delay)

    async def post(self, target: Target, body: bytes, call: Mapping[str, str]) -> bytes:
        """One try whose reply comes whole; `call`: headers that say which call it is.

        Raises:
            TryFailedError: no reply with status 200.
        """
        chunks = [chunk async for chunk in self.stream(target, body, call)]
        return b"".join(chunks)

    async def stream(
        self, target: Target, body: bytes, call: Mapping[str, str]
    ) -> AsyncGenerator[bytes]:
        """One try whose reply is read as it comes; `call`: headers that say which call it is.

        Raises:
            TryFailedError: no reply with status 200, or it was cut or stalled on the way.
        """
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **call}
        if target.api_key is not None:
            headers["Authorization"] = f"Bearer {target.api_key}"
        try:
            async with self._opened(target, body, headers) as response:
                if response.status != 200:
                    raise _refused(target, response, await response.content.read(_KEPT_BYTES))
                while chunk := await self._read(target, response):
                    yield chunk
        except (aiohttp.ClientError, OSError) as error:
            message = f"lost the model server at {target.url}: {error or type(error).__name__}"
            raise TryFailedError(502, message, retryable=True) from error

    @asynccontextmanager
    async def _opened(
        self, target: Target, body: bytes, headers: dict[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        request = self._http.post(
            target.url,
            data=body if len(body) < _LARGE_BYTES else io.BytesIO(body),
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        )
        async with self._stalling(target):
            response = await request
        async with response:
            yield response

    async def _read(self, target: Target, response: aiohttp.ClientResponse) -> bytes:
        async with self._stalling(target):
            return await response.content.read(_CHUNK_BYTES)

    @asynccontextmanager
    async def _stalling(self, target: Target) -> AsyncGenerator[None]:
        timer = asyncio.timeout(self._stall_seconds)
        try:
            async with timer:
                yield
        except TimeoutError as error:
            if not timer.expired():
                raise aiohttp.ClientConnectionError("connecting took too long") from error
            message = f"{target.url} sent nothing for {self._stall_seconds:g} s"
            raise TryFailedError(504, message, retryable=True) from None


def _refused(target: Target, response: aiohttp.ClientResponse, raw: bytes) -> TryFailedError:
    try:
        body = parse_object(raw)
    except BodyError:
        body = None
    status = response.status
    transient = status == 429 or status >= 500
    told = status if 400 <= status < 500 else 502
    said = raw[:200].decode(errors="replace")
    return TryFailedError(
        told,
        f"the model server at {target.url} answered {status}: {said}",
        retryable=transient,
        upstream_status=status,
        body=body,
        retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
    )


def _retry_after(header: str | None) -> float:
    try:
        return min(max(float(header or 0), 0.0), _LONGEST_RETRY_AFTER_SECONDS)
    except ValueError:
        return 0.0


def _delay(tries: int) -> float:
    whole = min(_FIRST_DELAY_SECONDS * 2.0 ** min(tries, 10), _LAST_DELAY_SECONDS)
    return whole * random.uniform(0.5, 1.0)
