"""Calls to model servers, and the one rule by which they are made again.

Retried: 429, 5xx, a lost connection, a stall. Everything else the model server says passes
through. One deadline bounds a call with all its retries. Time that an endpoint is paused does not
count, neither for the deadline nor for a stall. What bodies mean is not known here.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Final, TypeVar

import aiohttp

from rolldock.errors import RolldockError
from rolldock.gateway.endpoints import Target
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.gateway.outgoing import Outgoing
from rolldock.models.base import JsonObject

_log = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS: Final = 0.25
_LAST_DELAY_SECONDS: Final = 15.0
_LONGEST_RETRY_AFTER_SECONDS: Final = 60.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
_CHUNK_BYTES: Final = 64 * 1024
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


class _Limit:
    """How long one try may take, and be silent; `scope` is what ends it.

    A timer alone runs until it may be too long: only then pauses are looked for.
    """

    def __init__(
        self,
        target: Target,
        scope: asyncio.Timeout,
        seconds: float,
        total_seconds: float,
        stall_seconds: float,
    ) -> None:
        self.exceeded: TryFailedError | None = None
        self._target = target
        self._scope = scope
        self._seconds = seconds
        self._total_seconds = total_seconds
        self._stall_seconds = stall_seconds
        self._judging: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, self._left_seconds), self._ring)

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._judging is not None:
            self._judging.cancel()
            await asyncio.wait({self._judging})

    @property
    def _left_seconds(self) -> float:
        clock = self._target.clock
        return min(self._seconds - clock.taken_seconds, self._stall_seconds - clock.silent_seconds)

    def _ring(self) -> None:
        self._judging = asyncio.create_task(self._judge())

    async def _judge(self) -> None:
        """End the try, unless a pause or a sign of life has put that off."""
        clock, url = self._target.clock, self._target.base_url
        while self.exceeded is None:
            await asyncio.sleep(self._left_seconds)
            try:
                await clock.pauses_over()
            except RolldockError as error:
                _log.warning("whether %s was paused is not known: %s", url, error)
            if clock.taken_seconds >= self._seconds:
                message = f"no reply from {url} within {self._total_seconds:g} s"
                self.exceeded = TryFailedError(504, message, retryable=False)
            elif clock.silent_seconds >= self._stall_seconds:
                message = f"{url} sent nothing for {self._stall_seconds:g} s"
                self.exceeded = TryFailedError(504, message, retryable=True)
        self._scope.reschedule(0.0)


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
        once: Callable[[Target], Coroutine[object, object, Answer]],
        may_retry: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """Call `once` until it answers, each time on the target that `prepare` waits for.

        `may_retry` says whether the agent has seen nothing yet of the try that failed.

        Raises:
            TryFailedError: the last try's, when it may not be retried or the time is up.
        """
        spent, tries = 0.0, 0
        while True:
            target = await prepare()
            try:
                return await self._within(target, once(target), self._total_seconds - spent)
            except TryFailedError as failed:
                delay = max(_delay(tries), failed.retry_after_seconds)
                spent += target.clock.taken_seconds + delay
                tries += 1
                again = failed.retryable and may_retry()
                if not again or spent >= self._total_seconds:
                    raise
            await asyncio.sleep(delay)

    async def _within(
        self, target: Target, work: Coroutine[object, object, Answer], seconds: float
    ) -> Answer:
        """One try, given up when it takes or is silent for too long."""
        scope = asyncio.timeout(None)
        limit = _Limit(target, scope, seconds, self._total_seconds, self._stall_seconds)
        try:
            async with scope, limit:
                return await work
        except TimeoutError:
            if limit.exceeded is None:
                raise
            raise limit.exceeded from None

    async def post(
        self, target: Target, url: str, body: Outgoing, headers: Mapping[str, str]
    ) -> bytes:
        """One request whose reply comes whole.

        Raises:
            TryFailedError: no reply with status 200.
        """
        chunks = [chunk async for chunk in self.stream(target, url, body, headers)]
        return b"".join(chunks)

    async def stream(
        self, target: Target, url: str, body: Outgoing, headers: Mapping[str, str]
    ) -> AsyncGenerator[bytes]:
        """One request whose reply is read as it comes; `headers`: the key, which call it is.

        Raises:
            TryFailedError: no reply with status 200, or it was cut or stalled on the way.
        """
        try:
            async with self._http.post(
                url,
                data=body,
                headers={
                    "Accept-Encoding": "identity",
                    **headers,
                },
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as response:
                target.clock.hear()
                if response.status != 200:
                    raise _refused(url, response, await _beginning(response))
                while chunk := await response.content.read(_CHUNK_BYTES):
                    target.clock.hear()
                    yield chunk
        except aiohttp.InvalidURL as error:
            message = f"{url} is no URL that can be called: add the endpoint again"
            raise TryFailedError(502, message, retryable=False) from error
        except (aiohttp.ClientError, OSError) as error:
            message = f"lost the model server at {url}: {str(error) or type(error).__name__}"
            raise TryFailedError(502, message, retryable=True) from error


def is_transient(status: int) -> bool:
    """Whether a call that was answered with this status may fare better when it is made again."""
    return status == 429 or status >= 500


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The body of an error, as much of it as is kept."""
    kept = bytearray()
    while len(kept) < _KEPT_BYTES and (chunk := await response.content.read(_KEPT_BYTES)):
        kept += chunk
    return bytes(kept[:_KEPT_BYTES])


def _refused(url: str, response: aiohttp.ClientResponse, raw: bytes) -> TryFailedError:
    try:
        body = parse_object(raw)
    except BodyError:
        body = None
    status = response.status
    told = status if 400 <= status < 500 else 502
    said = raw[:200].decode(errors="replace")
    return TryFailedError(
        told,
        f"the model server at {url} answered {status}: {said}",
        retryable=is_transient(status),
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
