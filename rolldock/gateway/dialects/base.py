"""What the gateway asks of a wire format: parse a request, render a turn, say an error.

A dialect does no I/O and knows no session. What it renders depends on the turn alone, so that the
bytes that went to an agent can be made again from the store.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import Completion, error_message
from rolldock.gateway.dialects.chat_form import with_own_call_ids
from rolldock.gateway.json_bodies import CHAT_APART, describe
from rolldock.gateway.refusals import RefusedError
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.turn import Body, Encoding, Turn

JSON_TYPE: Final = "application/json"
EVENTS_TYPE: Final = "text/event-stream"

_NOT_IN_DIGEST: Final = frozenset({"stream", "stream_options", "metadata"})
_RETRY_HEADER: Final = "x-stainless-retry-count"
_IDEMPOTENCY_HEADER: Final = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class NativeConversation:
    """Where a translated request keeps what grows from turn to turn, and what repeats whole."""

    key: str
    """The body's field with the conversation: `messages`, `input`."""
    items: tuple[JsonValue, ...]
    """That field's items; a turn stores those that its parent does not have. Empty where the
    field is no list: then it is stored with the other fields."""
    blobs: tuple[str, ...] = ()
    """Fields that are stored as blobs of their own: `system`, `instructions`, `tools`."""

    def apart(self, body: JsonObject) -> frozenset[str]:
        """The fields of a body that a turn stores beside it."""
        blobs = [key for key in self.blobs if body.get(key) is not None]
        return frozenset([*blobs, *([self.key] if self.items else [])])


@dataclass(frozen=True, slots=True)
class SentBack:
    """Reasoning of an earlier turn that an agent sends back under the mark that it was given."""

    message: int
    """Index in `AgentRequest.messages` of the assistant message that it belongs to."""
    mark: str
    """What the agent sent, ours or not."""
    where: str
    """Where it stands in the body, for an error: `messages[3].content[0].signature`."""


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """A model call as the agent sent it, and as chat completions."""

    received: Body
    """As it is stored; its fields are `body`'s."""
    raw: bytes
    """Its bytes, where they cannot be written again or go on as they are; else empty."""
    body: JsonObject
    digest: str
    """Of the canonical body without `stream`, `stream_options` and `metadata`."""
    messages: tuple[JsonValue, ...]
    """The conversation in chat form, a system prompt included."""
    chat: JsonObject
    """The request as chat completions; its `messages` are those above."""
    stream: bool
    idempotency_key: str | None
    retry_count: int
    """What the agent's client says in its retry header; 0: nothing."""
    native: NativeConversation | None = None
    """None: the agent speaks chat completions."""
    sent_back: tuple[SentBack, ...] = ()
    passed_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """What of the agent's headers goes on with a request that is passed through."""
    continues: str | None = None
    """The id of the reply that it continues without repeating the conversation."""

    def chat_body(self) -> JsonObject:
        """The whole request as chat completions."""
        return {**self.chat, "messages": list(self.messages)}


class LiveStream(ABC):
    """One streamed upstream reply on its way to the agent."""

    tail: bytes
    """The terminal events, held back until the turn is stored."""

    @abstractmethod
    def take(self, data: bytes) -> bytes:
        """The events for the agent that one upstream event becomes; may be none.

        Raises:
            NotACompletionError: the event is an error or no JSON.
        """

    @abstractmethod
    def completion(self) -> Completion:
        """All of it put together.

        Raises:
            NotACompletionError: the stream ended before the model finished.
        """


class Dialect(ABC):
    """One wire format."""

    name: ClassVar[str]
    paths: ClassVar[tuple[str, ...]]
    count_paths: ClassVar[tuple[str, ...]] = ()
    """Where the format counts a request's tokens without a model call."""
    header: ClassVar[str | None] = None
    """A header that only clients of this format send: tells them apart on paths of several."""
    call_id_prefix: ClassVar[str] = "call_"
    chat_errors: ClassVar[bool] = False
    """Whether a chat model server's error body has this format's shape already."""
    passes_through: ClassVar[bool] = False
    """Whether the model server speaks it too: bodies pass as they are, nothing is rendered."""

    @abstractmethod
    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        """Read a request and translate it.

        Raises:
            RefusedError: it asks for what cannot be given; the text names it.
        """

    def own_message(
        self, message: JsonObject, request: AgentRequest, attempt: str, slot: int
    ) -> JsonObject:
        """The assistant message, in chat form, that is stored: each tool call has an id that no
        other call of the conversation has."""
        return with_own_call_ids(
            message,
            request.messages,
            lambda number: fresh_id(self.call_id_prefix, attempt, slot, (number,)),
        )

    @abstractmethod
    def render(self, turn: Turn, attempt: str) -> bytes:
        """The body that goes to the agent, streamed or whole as the turn was asked for."""

    @abstractmethod
    def live(self, request: AgentRequest, attempt: str, slot: int) -> LiveStream:
        """A translator for one streamed reply, whose ids are those that `render` gives."""

    @abstractmethod
    def models(self, model: str) -> JsonObject:
        """The list of models, which is one."""

    def count(self, body: JsonObject) -> JsonObject:
        """The answer to a request on one of `count_paths`: an estimate.

        Raises:
            RefusedError: it has what cannot be translated, or the format counts nothing.
        """
        raise RefusedError(404, "unknown_path", f"{self.name} counts no tokens")

    @abstractmethod
    def error(self, message: str, kind: str, code: str, status: int) -> JsonObject:
        """An error of ours in the format's shape."""

    @abstractmethod
    def error_event(self, error: bytes) -> bytes:
        """An error body as an event of a stream that has begun."""

    def refusal(self, refused: RefusedError) -> bytes:
        """The body of a refusal."""
        return orjson.dumps(self.error(str(refused), refused.kind, refused.code, refused.status))

    def recorded_error(self, error: TurnError) -> bytes:
        """The body of a recorded error: the model server's own words where it had any."""
        said = error.body if error.status == error.upstream_status else None
        if self.chat_errors and said is not None:
            return orjson.dumps(said)
        kind = "upstream_error" if error.upstream_status is not None else "rolldock_error"
        code = "context_length_exceeded" if error.context_overflow else f"status_{error.status}"
        message = error_message(said) or error.message
        return orjson.dumps(self.error(message, kind, code, error.status))


def agent_request(
    raw: bytes,
    body: JsonObject,
    headers: Mapping[str, str],
    *,
    messages: Iterable[JsonValue],
    chat: JsonObject,
    native: NativeConversation | None = None,
    sent_back: Iterable[SentBack] = (),
    keep_raw: bool = False,
) -> AgentRequest:
    """A parsed request, with what clients of all formats say in one way.

    Thousands may wait for their models, so bytes that can be written again are not kept.

    Raises:
        RefusedError: `stream` is neither true nor false.
    """
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise wrong("stream", "must be true or false")
    retries = headers.get(_RETRY_HEADER, "0")
    apart = CHAT_APART if native is None else native.apart(body)
    received = describe(body, raw, apart=apart)
    return AgentRequest(
        received=received,
        raw=raw if keep_raw or received.encoding is Encoding.BLOB else b"",
        body=body,
        digest=_request_digest(body),
        messages=tuple(messages),
        chat=chat,
        stream=bool(stream),
        idempotency_key=headers.get(_IDEMPOTENCY_HEADER),
        retry_count=int(retries) if retries.isdecimal() else 0,
        native=native,
        sent_back=tuple(sent_back),
    )


def fresh_id(prefix: str, attempt: str, slot: int, part: Sequence[int] = ()) -> str:
    """An id that no other turn has, the same whenever this turn is rendered."""
    named = f"{attempt}:{slot}:{part}".encode()
    return f"{prefix}{hashlib.sha256(named).hexdigest()[:24]}"


def asked_model(fields: JsonObject) -> str:
    """The model's name as the agent wrote it, which its answers repeat."""
    model = fields.get("model")
    return model if isinstance(model, str) else "default"


def wrong(where: str, what: str) -> RefusedError:
    """The refusal of one item of a request, by name."""
    return RefusedError(400, "invalid_value", f"{where}: {what}")


def _request_digest(body: JsonObject) -> str:
    """The digest by which a request sent again is known."""
    kept = {key: value for key, value in body.items() if key not in _NOT_IN_DIGEST}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()
