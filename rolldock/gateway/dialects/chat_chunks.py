"""A streamed chat completion, put together from its chunks as they come.

Says what each chunk adds, part after part, in an order that a turn can be rendered in later. What
an agent sees of it is each format's business.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import Completion, NotACompletionError, error_message, read_usage
from rolldock.gateway.dialects.chat_form import (
    REASONING_KEYS,
    reasoning_fields,
    reasoning_text,
    text_of,
)
from rolldock.gateway.engine_tokens import first_choice
from rolldock.gateway.sse import DONE
from rolldock.models.base import JsonObject

_READ_APART: Final = frozenset({"role", "content", "tool_calls", *REASONING_KEYS})


class Kind(Enum):
    """What a part of a reply is."""

    REASONING = "reasoning"
    TEXT = "text"
    REFUSAL = "refusal"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a reply; no other has the same kind and number."""

    kind: Kind
    number: int = 0
    """Of a call: its place among the calls. Of text: how many calls came before it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a chunk adds to a part: text, or a call's arguments; empty where it only begins it."""

    part: Part
    text: str


@dataclass(slots=True)
class _Call:
    given_id: JsonValue = None
    arguments: list[str] = field(default_factory=list[str])
    number: int | None = None
    """Its place among the calls that have a name; None: it has none yet."""


class ChatChunks:
    """The chunks of one reply.

    A part that another has followed does not go on. Text with only white space waits for what
    follows it: between calls some model servers stream line breaks that their whole replies do not
    have, and those are dropped. Reasoning that comes after text or a call is kept and not shown:
    an agent would send it back as the beginning of a turn of its own.
    """

    def __init__(self, own: Callable[[JsonObject], JsonObject]) -> None:
        """`own` gives an assistant message as it is stored: `Dialect.own_message`."""
        self.created: JsonValue = None
        self._own = own
        self._content: list[str] | None = None
        self._waiting = ""
        self._fields: JsonObject = {}
        self._calls: dict[int, _Call] = {}
        """By the model server's index."""
        self._begun: list[tuple[JsonObject, list[str]]] = []
        """Calls as they are stored, each with the pieces of its arguments."""
        self._parts: list[Part] = []
        self._finish_reason: str | None = None
        self._stop_reason: JsonValue = None
        self._usage: JsonValue = None

    def take(self, data: bytes) -> list[Piece]:
        """What one upstream event adds.

        Raises:
            NotACompletionError: it is an error or no JSON, or continues a part that was over.
        """
        if data == DONE:
            return []
        chunk = parse_chunk(data)
        choice = first_choice(chunk)
        self.created = chunk.get("created") if self.created is None else self.created
        self._usage = chunk.get("usage") or self._usage
        self._stop_reason = choice.get("stop_reason") or self._stop_reason
        delta = choice.get("delta")
        pieces = list(self._added(delta)) if isinstance(delta, dict) else []
        finish = choice.get("finish_reason")
        if isinstance(finish, str):
            self._finish_reason = finish
            if not self._calls:
                pieces.extend(self._say())
        return pieces

    def completion(self) -> Completion:
        """All of it put together; its body has what a turn keeps beside the message.

        Raises:
            NotACompletionError: the stream ended before the model finished.
        """
        if self._finish_reason is None:
            raise NotACompletionError("the stream ended before the model had finished")
        if len(self._begun) < len(self._calls):
            raise NotACompletionError("a tool call has no name")
        text: JsonValue = None if self._content is None else "".join(self._content)
        message: JsonObject = {"role": "assistant", "content": text, **self._fields}
        if self._begun:
            message["tool_calls"] = [self.call(number) for number in range(len(self._begun))]
        choice: JsonObject = {"index": 0, "finish_reason": self._finish_reason}
        if self._stop_reason is not None:
            choice["stop_reason"] = self._stop_reason
        body: JsonObject = {"created": self.created, "choices": [choice], "usage": self._usage}
        return Completion(body, message, self._finish_reason, read_usage(self._usage))

    def call(self, number: int) -> JsonObject:
        """A call as it is stored, with the arguments that it has so far."""
        own, pieces = self._begun[number]
        function = cast(JsonObject, own["function"])
        return {**own, "function": {**function, "arguments": "".join(pieces)}}

    def _added(self, delta: JsonObject) -> Iterator[Piece]:
        for key, value in delta.items():
            if key not in _READ_APART and value is not None:
                self._fields[key] = joined(self._fields.get(key), value)
        yield from self._reasoning(delta)
        if delta.get("content") is not None:
            if self._content is None:
                self._content = []
            yield from self._text(text_of(delta["content"]))
        if refusal := text_of(delta.get("refusal")):
            yield self._piece(Part(Kind.REFUSAL), refusal)
        calls = delta.get("tool_calls")
        for position, piece in enumerate(calls if isinstance(calls, list) else []):
            if isinstance(piece, dict):
                index = piece.get("index")
                yield from self._call(index if isinstance(index, int) else position, piece)

    def _reasoning(self, delta: JsonObject) -> Iterator[Piece]:
        added = reasoning_fields(delta)
        for key, value in added.items():
            self._fields[key] = joined(self._fields.get(key), value)
        part = Part(Kind.REASONING)
        if added and self._parts in ([], [part]):
            yield self._piece(part, reasoning_text(delta))

    def _text(self, text: str) -> Iterator[Piece]:
        self._waiting += text
        goes_on = self._parts and self._parts[-1].kind is Kind.TEXT
        if goes_on or not self._waiting.isspace():
            yield from self._say()

    def _say(self) -> Iterator[Piece]:
        """Show the text that has waited."""
        text, self._waiting = self._waiting, ""
        if text and self._content is not None:
            self._content.append(text)
            yield self._piece(Part(Kind.TEXT, len(self._begun)), text)

    def _call(self, index: int, piece: JsonObject) -> Iterator[Piece]:
        if index not in self._calls:
            if not self._calls:
                yield from self._say()
            self._waiting = ""
            self._calls[index] = _Call()
        call = self._calls[index]
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        name, added = function.get("name"), _arguments(function.get("arguments"))
        call.given_id = call.given_id or piece.get("id")
        call.arguments.append(added)
        # The first name counts: some model servers repeat it with every piece.
        if call.number is None and isinstance(name, str) and name:
            call.number = self._begin(call, name)
            yield self._piece(Part(Kind.CALL, call.number), "".join(call.arguments))
        elif call.number is not None and added:
            yield self._piece(Part(Kind.CALL, call.number), added)

    def _begin(self, call: _Call, name: str) -> int:
        """Give a call the id that it is stored under. Returns its place."""
        function: JsonObject = {"name": name, "arguments": ""}
        begun: JsonObject = {"id": call.given_id, "type": "function", "function": function}
        earlier = [own for own, _ in self._begun]
        message = self._own({"role": "assistant", "tool_calls": [*earlier, begun]})
        own = cast(list[JsonObject], message["tool_calls"])[-1]
        self._begun.append((own, call.arguments))
        return len(self._begun) - 1

    def _piece(self, part: Part, text: str) -> Piece:
        if not self._parts or self._parts[-1] != part:
            if part in self._parts:
                raise NotACompletionError(f"the stream goes back to {part.kind.value}")
            self._parts.append(part)
        return Piece(part, text)


def parse_chunk(data: bytes) -> JsonObject:
    """The chunk in an upstream event.

    Raises:
        NotACompletionError: it is an error or no JSON object.
    """
    try:
        chunk = cast(JsonValue, orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise NotACompletionError(f"a chunk is not JSON: {error}") from None
    if not isinstance(chunk, dict):
        raise NotACompletionError("a chunk is not an object")
    if chunk.get("error"):
        raise NotACompletionError(f"the stream says: {error_message(chunk) or chunk['error']}")
    return chunk


def _arguments(value: JsonValue) -> str:
    """A piece of a call's arguments; a few model servers send them parsed, in one piece."""
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(value).decode()


def joined(before: JsonValue, added: JsonValue) -> JsonValue:
    """Text grows, lists grow, anything else is replaced."""
    if isinstance(before, str) and isinstance(added, str):
        return before + added
    if isinstance(before, list) and isinstance(added, list):
        return [*before, *added]
    return added
