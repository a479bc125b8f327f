"""From one exchange with a model server to the turn that is stored.

Writes no record and no blob; says which blobs the turn needs.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from rolldock.gateway.conversation import Placement
from rolldock.gateway.dialects.base import AgentRequest, Dialect
from rolldock.gateway.engine_tokens import EngineTokens, TokenPrefixes, without_ids
from rolldock.gateway.engines import generate
from rolldock.gateway.engines.base import Exchange
from rolldock.gateway.json_bodies import CHAT_APART, describe, encode, without
from rolldock.gateway.place import CallPlace
from rolldock.models.base import JsonObject
from rolldock.models.endpoint import Endpoint
from rolldock.models.replay import Replayed
from rolldock.models.turn import Body, Encoding, Native, Tokens, Turn

_KEPT_OF_STREAM: Final = ("id", "created", "choices", "usage")
"""What is known again, or rendered again, without the blob of the stream."""


@dataclass(frozen=True, slots=True)
class BuiltTurn:
    """A turn with what must be stored or sent beside it."""

    turn: Turn
    blobs: tuple[bytes, ...]
    rendered: bytes
    """The body for the agent."""


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
    endpoint, through = exchange.target.endpoint, dialect.passes_through
    received = _received(request, place.placement)
    sent = _sent(exchange)
    tokens, reply = _reply(exchange, prefixes)
    turn = Turn(
        slot=place.slot,
        dialect=dialect.name,
        upstream=exchange.format,
        parent=place.placement.parent,
        n_shared=place.placement.n_shared,
        messages=request.messages[place.placement.n_shared :],
        native=received.native,
        tools_digest=received.tools_digest,
        request=request.received,
        sent=sent,
        reply=reply,
        message=(
            completion.message
            if through
            else dialect.own_message(completion.message, request, place.attempt, place.slot)
        ),
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        tokens=tokens,
        tokens_missing=exchange.tokens_missing,
        sampling=exchange.sampling,
        endpoint=endpoint.name,
        endpoint_version=endpoint.version,
        policy_version_start=endpoint.policy_version,
        policy_version_end=after.policy_version,
        streamed=request.stream,
        started_at=place.started_at,
        ended_at=ended_at,
    )
    rendered = exchange.reply_raw if through else dialect.render(turn, place.attempt)
    if through or exchange.tail is None:
        digest = hashlib.sha256(rendered).hexdigest()
        turn = turn.model_copy(update={"delivered_digest": digest})
    bodies = ((sent, exchange.sent_body.kept), (reply, exchange.reply_raw))
    blobs = [raw for body, raw in bodies if raw is not None and body.encoding is Encoding.BLOB]
    return BuiltTurn(turn, (*blobs, *received.blobs), rendered)


def repeat_turn(
    place: CallPlace,
    dialect: Dialect,
    recorded: Turn,
    replayed: Replayed,
    tokens: EngineTokens | None,
    prefixes: TokenPrefixes,
    reply_raw: bytes | None,
    ended_at: datetime,
) -> BuiltTurn:
    """The turn of a call that a recorded turn answers: its reply, at this call's place.

    `sent` is what would have been sent: the recorded body with this request's conversation.

    Args:
        tokens: the whole prompt and completion of the recorded turn; None: it has none.
        reply_raw: the recorded reply's bytes, where they go to the agent as they are.
    """
    request = place.request
    received = _received(request, place.placement)
    turn = recorded.model_copy(
        update={
            "slot": place.slot,
            "dialect": dialect.name,
            "parent": place.placement.parent,
            "n_shared": place.placement.n_shared,
            "messages": request.messages[place.placement.n_shared :],
            "native": received.native,
            "tools_digest": received.tools_digest,
            "request": request.received,
            "sent": _would_be_sent(request, dialect, recorded),
            "tokens": None if tokens is None else prefixes.place(tokens),
            "streamed": request.stream,
            "replayed": replayed,
            "diverged": None,
            "started_at": place.started_at,
            "ended_at": ended_at,
        }
    )
    rendered = dialect.render(turn, place.attempt) if reply_raw is None else reply_raw
    digest = hashlib.sha256(rendered).hexdigest()
    turn = turn.model_copy(update={"delivered_digest": digest})
    return BuiltTurn(turn, received.blobs, rendered)


def _would_be_sent(request: AgentRequest, dialect: Dialect, recorded: Turn) -> Body:
    sent, written = recorded.sent, request.native
    if sent.encoding is Encoding.BLOB or recorded.upstream == generate.FORMAT:
        # Bytes that are kept whole; and a prompt of tokens, which is the recorded one.
        return sent
    apart, here = CHAT_APART, request.chat_body()
    if dialect.passes_through and written is not None:
        apart, here = written.apart(request.body), request.body
    whole = {key: here.get(key) if key in apart else item for key, item in sent.fields.items()}
    return describe(whole, encode(whole, sent.encoding), sent.encoding, apart)


@dataclass(frozen=True, slots=True)
class _Received:
    """What of a request is stored beside its body."""

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
    if request.received.encoding is Encoding.BLOB:
        keep(request.raw)
    return _Received(native, tools_digest, tuple(blobs.values()))


def _sent(exchange: Exchange) -> Body:
    """The body that was sent: in the agent's style where it was passed through, else in our own."""
    sent, apart = exchange.sent_body, exchange.sent_apart
    if sent.kept is not None:
        return describe(exchange.sent, sent.kept, apart=apart)
    return Body(
        fields=without(exchange.sent, apart),
        encoding=Encoding.COMPACT,
        digest=sent.digest,
        n_bytes=sent.n_bytes,
    )


def _reply(exchange: Exchange, prefixes: TokenPrefixes) -> tuple[Tokens | None, Body]:
    """The reply as it is stored, and the token ids that are stored once beside it."""
    raw = exchange.reply_raw
    if exchange.streamed:
        said = exchange.completion.body
        named: JsonObject = {key: said[key] for key in _KEPT_OF_STREAM if key in said}
        return None, describe(named, raw, Encoding.BLOB)
    body = describe(exchange.completion.body, raw, apart=())
    if exchange.tokens is None:
        return None, body
    kept = body.model_copy(update={"fields": without_ids(body.fields, exchange.tokens)})
    return prefixes.place(exchange.tokens), kept
