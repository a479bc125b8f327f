"""What the gateway asks of a wire format: parse a request, render a turn, say an error.

A dialect does no I/O and knows no session. What it renders depends on the turn alone, so that the
bytes that went to an agent can be made again from the store.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import Completion
from rolldock.gateway.refusals import RefusedError
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.turn import Turn

JSON_TYPE: Final = "application/json"
EVENTS_TYPE: Final = "text/event-stream"

_NOT_IN_DIGEST: Final = frozenset({"stream", "stream_options", "metadata"})


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """A model call as the agent sent it."""

    raw: bytes
    body: JsonObject
    digest: str
    """Of the canonical body without `stream`, `stream_options` and `metadata`."""
    messages: tuple[JsonValue, ...]
    stream: bool
    idempotency_key: str | None
    retry_count: int
    """What the agent's client says in its retry header; 0: nothing."""


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

    @abstractmethod
    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        """Read a request.

        Raises:
            RefusedError: it asks for what cannot be given; the text names it.
        """

    @abstractmethod
    def chat_body(self, request: AgentRequest) -> JsonObject:
        """The request as chat completions."""

    @abstractmethod
    def canonical(self, message: JsonValue) -> bytes:
        """What stays of a message however an agent writes it down."""

    @abstractmethod
    def own_message(
        self, message: JsonObject, request: AgentRequest, attempt: str, slot: int
    ) -> JsonObject:
        """The assistant message as the agent gets it: each tool call has an id that no other
        call of the conversation has."""

    @abstractmethod
    def render(self, turn: Turn, attempt: str) -> bytes:
        """The body that goes to the agent, streamed or whole as the turn was asked for."""

    @abstractmethod
    def live(self, request: AgentRequest, attempt: str, slot: int) -> LiveStream:
        """A translator for one streamed reply."""

    @abstractmethod
    def models(self, model: str) -> JsonObject:
        """The list of models, which is one."""

    @abstractmethod
    def error(self, message: str, kind: str, code: str) -> JsonObject:
        """An error of ours in the format's shape."""

    @abstractmethod
    def error_event(self, error: bytes) -> bytes:
        """An error body as an event of a stream that has begun."""

    def refusal(self, refused: RefusedError) -> bytes:
        """The body of a refusal."""
        return orjson.dumps(self.error(str(refused), refused.kind, refused.code))

    def recorded_error(self, error: TurnError) -> bytes:
        """The body of a recorded error: the model server's own words where it had any."""
        if error.body is not None and error.status == error.upstream_status:
            return orjson.dumps(error.body)
        kind = "upstream_error" if error.upstream_status is not None else "rolldock_error"
        return orjson.dumps(self.error(error.message, kind, f"status_{error.status}"))


def request_digest(body: JsonObject) -> str:
    """The digest by which a request sent again is known."""
    kept = {key: value for key, value in body.items() if key not in _NOT_IN_DIGEST}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()


def fresh_id(prefix: str, attempt: str, slot: int, part: Sequence[int] = ()) -> str:
    """An id that no other turn has, the same whenever this turn is rendered."""
    named = f"{attempt}:{slot}:{part}".encode()
    return f"{prefix}{hashlib.sha256(named).hexdigest()[:24]}"
