"""What the gateway asks of a wire format that a model server speaks itself: pass it through.

Bodies go on as they are, but for what the session overrides; nothing is rendered, and what chat
completions cannot say is no reason to refuse. The conversation in chat form is made as well as it
goes, for who reads the trace and for finding a turn's parent; it is never sent anywhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import ClassVar

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import Completion, chosen
from rolldock.gateway.dialects.base import (
    AgentRequest,
    Dialect,
    NativeConversation,
    agent_request,
)
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnError
from rolldock.models.spec import Sampling


class ReportedError(Exception):
    """Raised when an answer with status 200 holds an error of the model server instead."""

    def __init__(self, status: int, message: str, body: JsonObject) -> None:
        super().__init__(message)
        self.status = status
        """The status that the server gives such an error when it has sent none yet."""
        self.body = body
        """The error as the server writes it where it is the whole answer."""


class Part(Enum):
    """What an event of a stream means for its delivery."""

    OPENING = auto()
    """Says nothing of the reply yet: the call can still be made again."""
    BODY = auto()
    ENDING = auto()
    """It, or one right after it, tells the agent that the reply is complete."""


class NativeStream(ABC):
    """Reads one streamed reply for what a turn says of it."""

    @abstractmethod
    def take(self, data: bytes) -> Part:
        """Read an event's data.

        Raises:
            NotACompletionError: it is no JSON object.
            ReportedError: it is an error of the model server.
        """

    @abstractmethod
    def completion(self) -> Completion:
        """All of it put together; of the body only the reply's `id` is kept.

        Raises:
            NotACompletionError: the stream ended before the model finished.
        """


class NativeDialect(Dialect):
    """One wire format, passed through."""

    passes_through = True
    format: ClassVar[str]
    """The format's name, which endpoints list in `native`; `name` tells its turns apart from those
    that were translated."""
    call_path: ClassVar[str]
    """Where the model server is called, after its base URL."""
    conversation_key: ClassVar[str]
    blob_keys: ClassVar[tuple[str, ...]]
    limit_key: ClassVar[str]
    """The field with the most tokens that the model may write."""
    sampling_keys: ClassVar[tuple[str, ...]]
    """The fields that a turn records as effective sampling."""
    passed_headers: ClassVar[tuple[str, ...]]
    """The agent's headers that the model server gets too, in lower case."""

    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        given = body.get(self.conversation_key)
        items = tuple(given) if isinstance(given, list) else ()
        request = agent_request(
            raw,
            body,
            headers,
            messages=self.chat_messages(body),
            chat={**self.chat_tools(body), **self._chat_limit(body)},
            native=NativeConversation(self.conversation_key, items, self.blob_keys),
            keep_raw=True,
        )
        return replace(
            request,
            passed_headers={key: headers[key] for key in self.passed_headers if key in headers},
            continues=self.continues(body),
        )

    @abstractmethod
    def chat_messages(self, body: JsonObject) -> list[JsonValue]:
        """The conversation in chat form; what has none stays as it is, in a message's content."""

    @abstractmethod
    def chat_tools(self, body: JsonObject) -> JsonObject:
        """The tools as a chat completion's fields."""

    def continues(self, body: JsonObject) -> str | None:
        """The id of the reply that a request continues without repeating its conversation."""
        return None

    @abstractmethod
    def key_headers(self, api_key: str) -> dict[str, str]:
        """The headers by which the model server is told the key."""

    @abstractmethod
    def read(self, body: JsonObject) -> Completion:
        """Read a whole reply.

        Raises:
            NotACompletionError: it is none; the text says why.
            ReportedError: it is an error of the model server.
        """

    @abstractmethod
    def stream_reader(self) -> NativeStream:
        """A reader for one streamed reply."""

    def overrides(self, body: JsonObject, model: str, sampling: Sampling) -> JsonObject:
        """What the session sets in a request and the request does not say already."""
        wanted: JsonObject = {"model": model, **chosen(sampling)}
        return {key: value for key, value in wanted.items() if body.get(key) != value}

    def limited(self, body: JsonObject, limits: Iterable[int | None]) -> JsonObject:
        """What must change in a request so that it has the least of these token limits."""
        known = [limit for limit in limits if limit is not None]
        asked = self._limit(body)
        if not known or (asked is not None and asked <= min(known)):
            return {}
        return {self.limit_key: min(known)}

    def unsayable(self, sampling: Sampling) -> list[str]:
        """The fields of a session's sampling that this format does not have."""
        return [key for key in chosen(sampling) if key not in self.sampling_keys]

    def recorded_error(self, error: TurnError) -> bytes:
        said = error.body if error.status == error.upstream_status else None
        if said is not None and isinstance(said.get("error"), dict):
            return orjson.dumps(said)
        return super().recorded_error(error)

    def _chat_limit(self, body: JsonObject) -> JsonObject:
        limit = self._limit(body)
        return {} if limit is None else {"max_tokens": limit}

    def _limit(self, body: JsonObject) -> int | None:
        value = body.get(self.limit_key)
        is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return value if is_number and isinstance(value, int) else None


def bare(value: JsonObject, without: Iterable[str]) -> JsonObject:
    """An item as clients may send it back: they leave out what is null, and some other fields."""
    left_out = set(without)
    return {key: item for key, item in value.items() if item is not None and key not in left_out}
