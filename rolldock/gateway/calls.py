"""One model call of a claimed slot: from the agent's request to the reply that is recorded.

Claims, retries and END are the session's business; this asks the model and says what it said.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import orjson

from rolldock.errors import UsageError
from rolldock.gateway.completions import (
    NotACompletionError,
    body_to_send,
    is_context_overflow,
    of_slot,
    read_completion,
    without_token_limit,
)
from rolldock.gateway.dialects.base import EVENTS_TYPE, JSON_TYPE, Dialect
from rolldock.gateway.endpoints import Endpoints, Target
from rolldock.gateway.engine_tokens import TokenPrefixes
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.gateway.patience import patiently
from rolldock.gateway.relay import Relay
from rolldock.gateway.sse import EventReader
from rolldock.gateway.turns import BuiltTurn, CallPlace, Exchange, build_turn
from rolldock.gateway.upstream import TryFailedError, Upstream
from rolldock.models.base import JsonObject
from rolldock.models.session import Session, TurnError, TurnReply
from rolldock.store.store import Store

LARGE_BODY_BYTES: Final = 512 * 1024
"""From here on a body is parsed off the event loop."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent gets for a slot, whoever asks for it."""

    reply: TurnReply | TurnError
    status: int
    content_type: str
    body: bytes
    tail: bytes | None = None
    """Under live delivery what is left to send; None: the body, whole."""


def answer_of(dialect: Dialect, reply: TurnReply | TurnError, attempt: str) -> Answer:
    """A recorded reply in the agent's format."""
    if isinstance(reply, TurnError):
        return Answer(reply, reply.status, JSON_TYPE, dialect.recorded_error(reply))
    kind = EVENTS_TYPE if reply.turn.streamed else JSON_TYPE
    return Answer(reply, 200, kind, dialect.render(reply.turn, attempt))


@dataclass(frozen=True, slots=True)
class CallTools:
    """What every call of this process needs."""

    store: Store
    endpoints: Endpoints
    upstream: Upstream


class ModelCall:
    """A call to the model for one slot."""

    def __init__(
        self,
        tools: CallTools,
        session: Session,
        dialect: Dialect,
        place: CallPlace,
        output_left: int | None,
        prefixes: TokenPrefixes,
        relay: Relay | None,
    ) -> None:
        self._tools = tools
        self._session = session
        self._dialect = dialect
        self._place = place
        self._output_left = output_left
        self._prefixes = prefixes
        self._relay = relay

    async def run(self) -> Answer:
        """Ask until there is an answer or an error to record.

        Raises:
            UnavailableError: the store does not answer.
        """
        try:
            exchange = await self._tools.upstream.retrying(
                self._ready, self._once, lambda: self._relay is None or not self._relay.pieces
            )
        except TryFailedError as failed:
            return self._answered(self._error(failed))
        except UsageError as error:
            refused = TryFailedError(400, str(error), retryable=False)
            return self._answered(self._error(refused))
        built = await self._built(exchange)
        await self._keep(built.blobs)
        reply = TurnReply(turn=built.turn)
        kind = EVENTS_TYPE if built.turn.streamed else JSON_TYPE
        return Answer(reply, 200, kind, built.rendered, exchange.tail)

    def aborted(self, message: str, status: int) -> Answer:
        """What is recorded when the session ended while this call was open."""
        return self._answered(self._error(TryFailedError(status, message, retryable=False)))

    async def _ready(self) -> Target:
        place = self._place
        return await self._tools.endpoints.ready(self._session.endpoint, place.attempt, place.slot)

    async def _once(self, target: Target) -> Exchange:
        sent = body_to_send(
            self._place.request.chat_body(),
            model=target.endpoint.model,
            sampling=of_slot(self._session.sampling, self._place.slot),
            output_left=self._output_left,
            token_ids=target.endpoint.token_ids is True,
            stream=self._relay is not None,
        )
        try:
            return await self._ask(target, sent)
        except TryFailedError as failed:
            free = without_token_limit(sent)
            if free is None or not is_context_overflow(failed.upstream_status or 0, failed.body):
                raise
        # The limit may have asked for more than the context has left: without one the model server
        # gives just that, and refuses again if the prompt alone is too long.
        return await self._ask(target, free)

    async def _ask(self, target: Target, sent: JsonObject) -> Exchange:
        sent_raw = orjson.dumps(sent)
        if self._relay is None:
            return await self._whole(target, sent, sent_raw)
        return await self._streamed(target, sent, sent_raw, self._relay)

    async def _whole(self, target: Target, sent: JsonObject, sent_raw: bytes) -> Exchange:
        raw = await self._tools.upstream.post(target, sent_raw, self._place.headers)
        try:
            completion = read_completion(await parse(raw))
        except (BodyError, NotACompletionError) as error:
            raise _unusable(target, str(error), retryable=False) from None
        return Exchange(target, sent, sent_raw, raw, completion)

    async def _streamed(
        self, target: Target, sent: JsonObject, sent_raw: bytes, relay: Relay
    ) -> Exchange:
        """Pass events on as they come; what the agent has seen cannot be asked for again."""
        place, reader, raw = self._place, EventReader(), bytearray()
        live = self._dialect.live(place.request, place.attempt, place.slot)
        try:
            async with aclosing(
                self._tools.upstream.stream(target, sent_raw, place.headers)
            ) as pieces:
                async for piece in pieces:
                    raw += piece
                    for data in reader.feed(piece):
                        if passed := live.take(data):
                            relay.push(passed)
            completion = live.completion()
        except TryFailedError as failed:
            failed.retryable = failed.retryable and not relay.pieces
            raise
        except NotACompletionError as error:
            raise _unusable(target, str(error), retryable=not relay.pieces) from None
        return Exchange(target, sent, sent_raw, bytes(raw), completion, live.tail)

    async def _built(self, exchange: Exchange) -> BuiltTurn:
        after = await patiently(lambda: self._tools.endpoints.newest(self._session.endpoint))
        build = (self._place, self._dialect, exchange, after, self._prefixes, datetime.now(UTC))
        if len(self._place.request.raw) + len(exchange.reply_raw) < LARGE_BODY_BYTES:
            return build_turn(*build)
        return await asyncio.to_thread(build_turn, *build)

    async def _keep(self, blobs: Iterable[bytes]) -> None:
        for blob in blobs:
            await patiently(lambda blob=blob: self._tools.store.put_blob(blob))

    def _answered(self, error: TurnError) -> Answer:
        return answer_of(self._dialect, error, self._place.attempt)

    def _error(self, failed: TryFailedError) -> TurnError:
        upstream = failed.upstream_status
        return TurnError(
            slot=self._place.slot,
            status=failed.status,
            upstream_status=upstream,
            message=failed.message,
            body=failed.body,
            context_overflow=is_context_overflow(upstream or 0, failed.body),
            started_at=self._place.started_at,
            ended_at=datetime.now(UTC),
        )


async def parse(raw: bytes) -> JsonObject:
    """Parse a body, a large one off the event loop.

    Raises:
        BodyError: it is no JSON object that we can keep.
    """
    if len(raw) < LARGE_BODY_BYTES:
        return parse_object(raw)
    return await asyncio.to_thread(parse_object, raw)


def _unusable(target: Target, why: str, *, retryable: bool) -> TryFailedError:
    message = f"the model server at {target.url} answered 200 without a chat completion: {why}"
    return TryFailedError(502, message, retryable=retryable, upstream_status=200)
