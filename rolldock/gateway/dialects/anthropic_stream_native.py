"""Anthropic's answers, whole and as streams, read for what a turn says of them."""

from dataclasses import dataclass, field
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import Completion, NotACompletionError, error_message
from rolldock.gateway.dialects.anthropic_blocks_native import assistant_message, thinking_of
from rolldock.gateway.dialects.base_native import NativeStream, Part, ReportedError
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.models.base import JsonObject
from rolldock.models.turn import Usage

_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_GROWING: Final = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
}
"""The deltas that a turn in chat form has a place for, and where each has its text."""


def read_message(body: JsonObject) -> Completion:
    """Read a whole message.

    Raises:
        NotACompletionError: it is none.
        ReportedError: it is an error.
    """
    raise_error(body)
    content = body.get("content")
    if body.get("type") != "message" or not isinstance(content, list):
        raise NotACompletionError("it is no message with content")
    message = assistant_message(content)
    if thinking := thinking_of(content):
        message["reasoning_content"] = thinking
    reason = body.get("stop_reason")
    finish = _FINISH_REASONS.get(reason, reason) if isinstance(reason, str) else "unknown"
    return Completion(body, message, finish, _usage(body.get("usage")))


def raise_error(body: JsonObject) -> None:
    """Raise if a body is an error.

    Raises:
        ReportedError: it is one.
    """
    error = body.get("error")
    if body.get("type") != "error" or not isinstance(error, dict):
        return
    kind = error.get("type")
    status = _STATUSES.get(kind, 500) if isinstance(kind, str) else 500
    raise ReportedError(status, error_message(body) or "no message", body)


@dataclass(slots=True)
class _Block:
    """A content block as it begins, and what its deltas bring."""

    begun: JsonObject
    pieces: list[str] = field(default_factory=list[str])

    def whole(self) -> JsonObject:
        """The block with all its deltas."""
        grown = "".join(self.pieces)
        for key in ("text", "thinking"):
            start = self.begun.get(key)
            if isinstance(start, str):
                return {**self.begun, key: start + grown}
        if not grown:
            return self.begun
        return {**self.begun, "input": _parsed(grown)}


class MessageStream(NativeStream):
    """The events of one message."""

    def __init__(self) -> None:
        self._message: JsonObject = {}
        self._usage: JsonObject = {}
        self._blocks: dict[int, _Block] = {}
        self._stopped = False

    def take(self, data: bytes) -> Part:
        try:
            event = parse_object(data)
        except BodyError as error:
            raise NotACompletionError(str(error)) from None
        raise_error(event)
        match event.get("type"):
            case "message_start":
                self._start(event)
                return Part.OPENING
            case "ping":
                return Part.BODY if self._blocks else Part.OPENING
            case "content_block_start":
                self._begin(event)
            case "content_block_delta":
                self._grow(event)
            case "message_delta":
                return self._change(event)
            case "message_stop":
                self._stopped = True
                return Part.ENDING
            case _:
                pass
        return Part.BODY

    def completion(self) -> Completion:
        if not self._stopped:
            raise NotACompletionError("its stream ended before message_stop")
        content: list[JsonValue] = [
            block.whole() for _, block in sorted(self._blocks.items(), key=lambda item: item[0])
        ]
        said: JsonObject = {"type": "message", "content": content, "usage": self._usage}
        read = read_message({**self._message, **said})
        kept: JsonObject = {"id": self._message.get("id")}
        return Completion(kept, read.message, read.finish_reason, read.usage)

    def _start(self, event: JsonObject) -> None:
        message = event.get("message")
        if isinstance(message, dict):
            self._message = message
            self._count(message.get("usage"))

    def _begin(self, event: JsonObject) -> None:
        block, index = event.get("content_block"), event.get("index")
        if isinstance(block, dict) and isinstance(index, int):
            self._blocks[index] = _Block(block)

    def _grow(self, event: JsonObject) -> None:
        delta, index = event.get("delta"), event.get("index")
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None or not isinstance(delta, dict):
            return
        piece = delta.get(_GROWING.get(str(delta.get("type")), ""))
        if isinstance(piece, str):
            block.pieces.append(piece)

    def _change(self, event: JsonObject) -> Part:
        """Stop reason and usage: an agent may act on them, so that they belong to the end."""
        delta = event.get("delta")
        changed = delta if isinstance(delta, dict) else {}
        self._message = {**self._message, **changed}
        self._count(event.get("usage"))
        return Part.ENDING if changed.get("stop_reason") is not None else Part.BODY

    def _count(self, usage: JsonValue) -> None:
        """Later counts include the earlier ones."""
        if isinstance(usage, dict):
            self._usage |= {key: value for key, value in usage.items() if value is not None}


def _parsed(written: str) -> JsonValue:
    """A tool's input; what the model left incomplete stays text."""
    try:
        return cast(JsonValue, orjson.loads(written))
    except orjson.JSONDecodeError:
        return written


def _usage(value: JsonValue) -> Usage:
    """Anthropic counts what it reads from its cache, or writes to it, beside the input."""
    usage = value if isinstance(value, dict) else {}

    def count(key: str) -> int:
        number = usage.get(key)
        return number if isinstance(number, int) and number > 0 else 0

    cached = count("cache_read_input_tokens")
    fresh = count("input_tokens") + count("cache_creation_input_tokens")
    return Usage(
        input_tokens=fresh + cached, output_tokens=count("output_tokens"), cached_tokens=cached
    )
