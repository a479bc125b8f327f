"""Streams of chat completion chunks: made from a whole completion, or passed on as they come."""

from collections.abc import Callable, Iterator
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import Completion, NotACompletionError, read_usage
from rolldock.gateway.dialects.base import LiveStream
from rolldock.gateway.dialects.chat_chunks import joined, parse_chunk
from rolldock.gateway.engine_tokens import COMPLETION_IDS, PROMPT_IDS, first_choice
from rolldock.gateway.sse import DONE, event
from rolldock.models.base import JsonObject

_PIECE_CHARACTERS: Final = 8192
"""Of text per chunk: some readers of streams refuse long lines."""

_OBJECT: Final = "chat.completion.chunk"


def whole_as_events(whole: JsonObject, *, with_usage: bool) -> bytes:
    """A completion as the stream that a server would have sent for it."""
    choice = first_choice(whole)
    message = choice.get("message")
    deltas = list(_deltas(message if isinstance(message, dict) else {}))
    base: JsonObject = {
        "id": whole["id"],
        "object": _OBJECT,
        "created": whole["created"],
        "model": whole["model"],
    }
    last: JsonObject = {"index": 0, "delta": {}, "finish_reason": choice.get("finish_reason")}
    if choice.get("logprobs") is not None:
        last["logprobs"] = choice["logprobs"]
    choices: list[JsonObject] = [
        *({"index": 0, "delta": delta, "finish_reason": None} for delta in deltas),
        last,
    ]
    chunks: list[JsonObject] = [{**base, "choices": [choice]} for choice in choices]
    if with_usage:
        chunks.append({**base, "choices": [], "usage": whole["usage"]})
    return b"".join(event(orjson.dumps(chunk)) for chunk in chunks) + event(DONE)


def _deltas(message: JsonObject) -> Iterator[JsonObject]:
    yield {"role": "assistant", "content": ""}
    for key, value in message.items():
        if key in ("role", "tool_calls") or value is None:
            continue
        if isinstance(value, str):
            for start in range(0, len(value), _PIECE_CHARACTERS):
                yield {key: value[start : start + _PIECE_CHARACTERS]}
        else:
            yield {key: value}
    calls = message.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            yield {"tool_calls": [{**call, "index": number}]}


class ChatLiveStream(LiveStream):
    """Chunks as they come, under our ids; from the finish reason on they are held back."""

    def __init__(
        self,
        *,
        response_id: str,
        own: Callable[[JsonObject], JsonObject],
        model: str,
        with_usage: bool,
        with_logprobs: bool,
    ) -> None:
        self.tail = b""
        self._response_id = response_id
        self._own = own
        self._model = model
        self._with_usage = with_usage
        self._with_logprobs = with_logprobs
        self._message: JsonObject = {"role": "assistant", "content": None}
        self._calls: dict[int, JsonObject] = {}
        self._finish_reason: str | None = None
        self._usage: JsonValue = None

    def take(self, data: bytes) -> bytes:
        if data == DONE:
            self.tail += event(DONE)
            return b""
        chunk = parse_chunk(data)
        choice = first_choice(chunk)
        self._note(chunk, choice)
        sent = self._for_agent(chunk, choice)
        if self._finish_reason is None:
            return sent
        self.tail += sent
        return b""

    def completion(self) -> Completion:
        if self._finish_reason is None:
            raise NotACompletionError("the stream ended before the model had finished")
        if not self.tail.endswith(event(DONE)):
            self.tail += event(DONE)
        if self._calls:
            self._message["tool_calls"] = [self._calls[number] for number in sorted(self._calls)]
        return Completion({}, self._message, self._finish_reason, read_usage(self._usage))

    def _note(self, chunk: JsonObject, choice: JsonObject) -> None:
        """Add a chunk to the message that is being put together."""
        self._usage = chunk.get("usage") or self._usage
        finish = choice.get("finish_reason")
        if isinstance(finish, str):
            self._finish_reason = finish
        delta = choice.get("delta")
        for key, value in (delta if isinstance(delta, dict) else {}).items():
            if key == "tool_calls":
                self._note_calls(value)
            elif key != "role" and value is not None:
                self._message[key] = joined(self._message.get(key), value)

    def _note_calls(self, calls: JsonValue) -> None:
        for position, piece in enumerate(calls if isinstance(calls, list) else []):
            if not isinstance(piece, dict):
                continue
            number = piece.setdefault("index", position)
            number = number if isinstance(number, int) else position
            if number not in self._calls:
                self._calls[number] = self._begun(piece)
            if piece.get("id"):
                piece["id"] = self._calls[number]["id"]
            function = self._calls[number]["function"]
            added = piece.get("function")
            if isinstance(function, dict) and isinstance(added, dict):
                for key, value in added.items():
                    function[key] = joined(function.get(key), value)

    def _begun(self, piece: JsonObject) -> JsonObject:
        """A call under the id that it is stored under, which its first piece bears."""
        begun: JsonObject = {"id": piece.get("id"), "type": "function", "function": {}}
        message = self._own({"role": "assistant", "tool_calls": [*self._calls.values(), begun]})
        own = cast(list[JsonObject], message["tool_calls"])[-1]
        piece["id"] = own["id"]
        return own

    def _for_agent(self, chunk: JsonObject, choice: JsonObject) -> bytes:
        if not choice and not (self._with_usage and chunk.get("usage")):
            return b""
        kept = {key: value for key, value in chunk.items() if key != PROMPT_IDS}
        kept |= {"id": self._response_id, "object": _OBJECT, "model": self._model}
        if not self._with_usage:
            kept.pop("usage", None)
        if choice:
            choice = {key: value for key, value in choice.items() if key != COMPLETION_IDS}
            if not self._with_logprobs:
                choice.pop("logprobs", None)
            kept["choices"] = [choice]
        return event(orjson.dumps(kept))
