"""One model call of a claimed slot: from the agent's request to the reply that is recorded.

Claims, retries and END are the session's business; this asks the model and says what it said.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from rolldock.errors import UsageError
from rolldock.gateway.completions import is_context_overflow
from rolldock.gateway.dialects.base import EVENTS_TYPE, JSON_TYPE, Dialect
from rolldock.gateway.dialects.registry import dialect_named
from rolldock.gateway.endpoints import Endpoints, Target
from rolldock.gateway.engines.base import EngineCall, Exchange
from rolldock.gateway.engines.registry import Engines
from rolldock.gateway.json_bodies import LARGE_BODY_BYTES, encode
from rolldock.gateway.patience import patiently
from rolldock.gateway.turns import BuiltTurn, build_turn
from rolldock.gateway.upstream import TryFailedError, Upstream
from rolldock.models.session import TurnError, TurnReply
from rolldock.models.turn import Encoding
from rolldock.store.store import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent gets for a slot, whoever asks for it."""

    reply: TurnReply | TurnError
    status: int
    content_type: str
    body: bytes
    tail: bytes | None = None
    """Under live delivery what is left to send; None: the body, whole."""


async def answer_of(
    store: Store, dialect: Dialect, reply: TurnReply | TurnError, attempt: str
) -> Answer:
    """A recorded reply in the agent's format.

    Raises:
        UnavailableError: the store does not answer.
    """
    if isinstance(reply, TurnError):
        return error_answer(dialect, reply)
    turn = reply.turn
    kind = EVENTS_TYPE if turn.streamed else JSON_TYPE
    # The endpoint may have learnt the agent's format, or lost it, since the turn was recorded.
    recorded = dialect_named(turn.dialect)
    if not recorded.passes_through:
        return Answer(reply, 200, kind, recorded.render(turn, attempt))
    body = turn.reply
    is_blob = body.encoding is Encoding.BLOB
    raw = await store.get_blob(body.digest) if is_blob else encode(body.fields, body.encoding)
    return Answer(reply, 200, kind, raw)


def error_answer(dialect: Dialect, error: TurnError) -> Answer:
    """A recorded error in the agent's format."""
    return Answer(error, error.status, JSON_TYPE, dialect.recorded_error(error))


async def in_form(answered: "asyncio.Future[Answer]", stream: bool, attempt: str) -> Answer:
    """An answer in the form that a request sent again asks for, streamed or whole.

    What was passed through has only the form in which the model server gave it.

    Raises:
        UnavailableError: there is none, since the store does not answer.
    """
    answer = await asyncio.shield(answered)
    if isinstance(answer.reply, TurnError) or answer.reply.turn.streamed is stream:
        return answer
    turn = answer.reply.turn.model_copy(update={"streamed": stream})
    dialect = dialect_named(turn.dialect)
    if dialect.passes_through:
        return answer
    kind = EVENTS_TYPE if stream else JSON_TYPE
    return Answer(answer.reply, 200, kind, dialect.render(turn, attempt))


@dataclass(frozen=True, slots=True)
class CallTools:
    """What every call of this process needs."""

    store: Store
    endpoints: Endpoints
    upstream: Upstream
    engines: Engines


class SlotCall(Protocol):
    """What gives a claimed slot its answer: the model, or a recording."""

    async def run(self) -> Answer:
        """The answer to record.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    def aborted(self, message: str, status: int) -> Answer:
        """What is recorded when the session ended while this call was open."""
        ...


class ModelCall(SlotCall):
    """A call to the model for one slot."""

    def __init__(self, tools: CallTools, call: EngineCall) -> None:
        self._tools = tools
        self._call = call
        self._endpoint = call.session.endpoint

    async def run(self) -> Answer:
        """Ask until there is an answer or an error to record.

        Raises:
            UnavailableError: the store does not answer.
        """
        try:
            exchange = await self._tools.upstream.retrying(self._ready, self._once, self._unseen)
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
        place = self._call.place
        return await self._tools.endpoints.ready(self._endpoint, place.attempt, place.slot)

    async def _once(self, target: Target) -> Exchange:
        engine = self._tools.engines.of(target.endpoint, self._call.dialect)
        return await engine.ask(target, self._call)

    def _unseen(self) -> bool:
        """Whether the agent has got nothing yet of this call."""
        return self._call.relay is None or not self._call.relay.pieces

    async def _built(self, exchange: Exchange) -> BuiltTurn:
        call = self._call
        after = await patiently(lambda: self._tools.endpoints.newest(self._endpoint))
        build = (call.place, call.dialect, exchange, after, call.prefixes, datetime.now(UTC))
        if call.place.request.received.n_bytes + len(exchange.reply_raw) < LARGE_BODY_BYTES:
            return build_turn(*build)
        return await asyncio.to_thread(build_turn, *build)

    async def _keep(self, blobs: Iterable[bytes]) -> None:
        for blob in blobs:
            await patiently(lambda blob=blob: self._tools.store.put_blob(blob))

    def _answered(self, error: TurnError) -> Answer:
        return error_answer(self._call.dialect, error)

    def _error(self, failed: TryFailedError) -> TurnError:
        upstream = failed.upstream_status
        return TurnError(
            slot=self._call.place.slot,
            status=failed.status,
            upstream_status=upstream,
            message=failed.message,
            body=failed.body,
            context_overflow=is_context_overflow(upstream or 0, failed.body),
            started_at=self._call.place.started_at,
            ended_at=datetime.now(UTC),
        )
