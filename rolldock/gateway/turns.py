"""From one exchange with a model server to the turn that is stored.

Writes no record and no blob; says which blobs the turn needs.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import orjson

from rolldock.gateway.completions import Completion, effective_sampling
from rolldock.gateway.conversation import Placement
from rolldock.gateway.dialects.base import AgentRequest, Dialect
from rolldock.gateway.endpoints import Target
from rolldock.gateway.engine_tokens import TokenPrefixes, read_tokens, without_ids
from rolldock.gateway.json_bodies import CHAT_APART, describe
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import Endpoint
from rolldock.models.names import SESSION_HEADER, SLOT_HEADER
from rolldock.models.turn import Body, Encoding, Native, Tokens, Turn


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answered try: what was sent where, and what came back."""

    target: Target
    sent: JsonObject
    sent_raw: bytes
    reply_raw: bytes
    completion: Completion
    tail: bytes | None = None
    """The terminal events of a live stream; None: the reply came whole."""


@dataclass(frozen=True, slots=True)
class BuiltTurn:
    """A turn with what must be stored or sent beside it."""

    turn: Turn
    blobs: tuple[bytes, ...]
    rendered: bytes
    """The body for the agent."""


@dataclass(frozen=True, slots=True)
class CallPlace:
    """Which call of which session a turn is."""

    attempt: str
    slot: int
    request: AgentRequest
    placement: Placement
    started_at: datetime

    @property
    def headers(self) -> dict[str, str]:
        """What tells model servers and their routers which call it is, in every try."""
        return {SESSION_HEADER: self.attempt, SLOT_HEADER: str(self.slot)}


def build_turn(
    place: CallPlace,
    dialect: Dialect,
    exchange: Exchange,
    after: Endpoint,
    prefixes: TokenPrefixes,
    ended_at: datetime,
) -> BuiltTurn:
    """The turn of an answered call; `after` is the endpoint as it was once the reply was here."""
    request, completion = place.request, exchange.completion
    endpoint = exchange.target.endpoint
    received = _received(request, place.placement)
    tokens, reply = _reply(exchange, prefixes)
    turn = Turn(
        slot=place.slot,
        dialect=dialect.name,
        parent=place.placement.parent,
        n_shared=place.placement.n_shared,
        messages=request.messages[place.placement.n_shared :],
        native=received.native,
        tools_digest=received.tools_digest,
        request=received.body,
        sent=describe(exchange.sent, exchange.sent_raw, Encoding.COMPACT),
        reply=reply,
        message=dialect.own_message(completion.message, request, place.attempt, place.slot),
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        tokens=tokens,
        sampling=effective_sampling(exchange.sent),
        endpoint=endpoint.name,
        endpoint_version=endpoint.version,
        policy_version_start=endpoint.policy_version,
        policy_version_end=after.policy_version,
        streamed=request.stream,
        started_at=place.started_at,
        ended_at=ended_at,
    )
    rendered = dialect.render(turn, place.attempt)
    if exchange.tail is None:
        digest = hashlib.sha256(rendered).hexdigest()
        turn = turn.model_copy(update={"delivered_digest": digest})
    blobs = (exchange.reply_raw,) if reply.encoding is Encoding.BLOB else ()
    return BuiltTurn(turn, (*blobs, *received.blobs), rendered)


@dataclass(frozen=True, slots=True)
class _Received:
    """A request as it is stored."""

    body: Body
    native: Native | None
    tools_digest: str | None
    """Of the tools in chat form."""
    blobs: tuple[bytes, ...]


def _received(request: AgentRequest, placement: Placement) -> _Received:
    blobs: dict[str, bytes] = {}

    def keep(value: bytes) -> str:
        digest = hashlib.sha256(value).hexdigest()
        blobs[digest] = value
        return digest

    tools = request.chat.get("tools")
    tools_digest = None if tools is None else keep(orjson.dumps(tools))
    native: Native | None = None
    apart: frozenset[str] = CHAT_APART
    if request.native is not None:
        written = request.native
        native = Native(
            key=written.key,
            n_shared=placement.n_shared_native,
            items=written.items[placement.n_shared_native :],
            blobs={
                key: keep(orjson.dumps(request.body[key]))
                for key in written.blobs
                if request.body.get(key) is not None
            },
        )
        apart = frozenset([*native.blobs, *([written.key] if written.items else [])])
    body = describe(request.body, request.raw, apart=apart)
    if body.encoding is Encoding.BLOB:
        keep(request.raw)
    return _Received(body, native, tools_digest, tuple(blobs.values()))


def _reply(exchange: Exchange, prefixes: TokenPrefixes) -> tuple[Tokens | None, Body]:
    """The reply as it is stored, and the token ids that are stored once beside it."""
    raw = exchange.reply_raw
    if exchange.tail is not None:
        return None, describe({}, raw, Encoding.BLOB)
    fields = exchange.completion.body
    body = describe(fields, raw)
    engine = read_tokens(fields) if exchange.target.endpoint.token_ids else None
    if engine is None:
        return None, body
    return prefixes.place(engine), body.model_copy(update={"fields": without_ids(body.fields)})
