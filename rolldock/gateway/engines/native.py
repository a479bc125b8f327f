"""The agent's own format: passed through to a model server that speaks it, for evaluation.

The request keeps its bytes but for what the session overrides, the reply keeps them all. Which
sessions are asked for in this way is decided in `server.py`.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

from rolldock.errors import UsageError
from rolldock.gateway.completions import Completion, NotACompletionError, of_slot
from rolldock.gateway.dialects.base_native import NativeDialect, Part, ReportedError
from rolldock.gateway.endpoints import Target
from rolldock.gateway.engines.base import Engine, EngineCall, Exchange
from rolldock.gateway.json_bodies import LARGE_BODY_BYTES, BodyError, parse
from rolldock.gateway.json_splice import with_fields
from rolldock.gateway.outgoing import Outgoing, passed_through
from rolldock.gateway.relay import Relay
from rolldock.gateway.sse import RawEvents, data_of
from rolldock.gateway.upstream import TryFailedError, is_transient
from rolldock.models.base import JsonObject

_FIRST_ERROR: Final = 400
"""Among statuses."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Reply:
    raw: bytes
    completion: Completion
    tail: bytes | None = None


class NativeEngine(Engine):
    """`POST {base}/messages`, `POST {base}/responses`."""

    def __init__(self, dialect: NativeDialect) -> None:
        self._dialect = dialect

    async def ask(self, target: Target, call: EngineCall) -> Exchange:
        request, dialect = call.place.request, self._dialect
        changed = self._changed(target, call)
        sent_body = await passed_through(await _spliced(request.raw, changed))
        sent: JsonObject = {**request.body, **changed}
        url = f"{target.base_url}{dialect.call_path}"
        headers = {**request.passed_headers, **call.place.headers}
        if target.api_key is not None:
            headers |= dialect.key_headers(target.api_key)
        asking = self._whole if not request.stream else self._streamed
        reply = await _in_its_words(url, asking(target, call, url, sent_body, headers))
        return Exchange(
            target=target,
            sent=sent,
            sent_body=sent_body,
            reply_raw=reply.raw,
            completion=reply.completion,
            sampling={key: sent[key] for key in dialect.sampling_keys if key in sent},
            format=dialect.format,
            sent_apart=() if request.native is None else request.native.apart(request.body),
            streamed=request.stream,
            tail=reply.tail,
        )

    def _changed(self, target: Target, call: EngineCall) -> JsonObject:
        """The fields in which what is sent differs from what the agent asked for.

        Raises:
            UsageError: the endpoint or the format cannot do as the session says.
        """
        dialect, endpoint = self._dialect, target.endpoint
        if dialect.format not in endpoint.native:
            raise UsageError(
                f"endpoint {endpoint.name} version {endpoint.version} no longer takes "
                f"{dialect.format} as it is: add it with `--native {dialect.format}`"
            )
        sampling, body = call.session.sampling, call.place.request.body
        if unsayable := dialect.unsayable(sampling):
            raise UsageError(
                f"sampling {', '.join(unsayable)} cannot be set in {dialect.format}: leave it out "
                f"of the spec, or add endpoint {endpoint.name} without `--native {dialect.format}`"
            )
        limits = (sampling.max_tokens, call.output_left)
        own = of_slot(sampling, call.place.slot)
        return dialect.overrides(body, endpoint.model, own) | dialect.limited(body, limits)

    async def _whole(
        self, target: Target, call: EngineCall, url: str, sent: Outgoing, headers: dict[str, str]
    ) -> _Reply:
        reply = await call.upstream.post(target, url, sent, headers)
        try:
            return _Reply(reply, self._dialect.read(await parse(reply)))
        except (BodyError, NotACompletionError) as error:
            raise self._unusable(url, str(error), retryable=False) from None

    async def _streamed(
        self, target: Target, call: EngineCall, url: str, sent: Outgoing, headers: dict[str, str]
    ) -> _Reply:
        passing = _Passing(self._dialect, call.relay)
        try:
            async with aclosing(call.upstream.stream(target, url, sent, headers)) as pieces:
                async for piece in pieces:
                    passing.take(piece)
            return passing.reply()
        except NotACompletionError as error:
            raise self._unusable(url, str(error), retryable=True) from None

    def _unusable(self, url: str, why: str, *, retryable: bool) -> TryFailedError:
        message = (
            f"the model server at {url} answered 200 without a whole {self._dialect.format} "
            f"reply: {why}"
        )
        return TryFailedError(502, message, retryable=retryable, upstream_status=200)


class _Passing:
    """A stream on its way: kept whole, read for the turn, and under live delivery passed on.

    Held back are the events before the reply says anything, so that a call which fails there can be
    made again, and those that end it, until the turn is stored.
    """

    def __init__(self, dialect: NativeDialect, relay: Relay | None) -> None:
        self._reader = dialect.stream_reader()
        self._relay = relay
        self._events = RawEvents()
        self._received = bytearray()
        self._held = bytearray()
        self._ending = False

    def take(self, piece: bytes) -> None:
        """Take up a piece of the stream."""
        self._received += piece
        for event in self._events.feed(piece):
            self._take_event(event)

    def reply(self) -> _Reply:
        """All of it, once the stream has closed."""
        if rest := self._events.rest:
            self._take_event(rest)
        completion = self._reader.completion()
        tail = None if self._relay is None else bytes(self._held)
        return _Reply(bytes(self._received), completion, tail)

    def _take_event(self, event: bytes) -> None:
        data = data_of(event)
        part = self._reader.take(data) if data else Part.OPENING
        self._ending = self._ending or part is Part.ENDING
        if self._relay is None:
            return
        self._held += event
        begun = bool(self._relay.pieces) or part is Part.BODY
        if begun and not self._ending:
            self._relay.push(bytes(self._held))
            self._held.clear()


async def _in_its_words(url: str, asking: Coroutine[object, object, Answer]) -> Answer:
    """One try whose failure has the status and the body that the model server gave it."""
    try:
        return await asking
    except ReportedError as error:
        raise TryFailedError(
            error.status,
            f"the model server at {url} answered with an error: {error}",
            retryable=is_transient(error.status),
            upstream_status=error.status,
            body=error.body,
        ) from None
    except TryFailedError as failed:
        if failed.body is not None and (failed.upstream_status or 0) >= _FIRST_ERROR:
            failed.status = failed.upstream_status or failed.status
        raise


async def _spliced(raw: bytes, changed: JsonObject) -> bytes:
    if len(raw) < LARGE_BODY_BYTES:
        return with_fields(raw, changed)
    return await asyncio.to_thread(with_fields, raw, changed)
