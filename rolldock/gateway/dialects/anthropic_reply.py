"""A turn as Anthropic's message: whole, or as the stream that a server would have sent for it."""

from collections.abc import Iterator
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.anthropic_blocks import INVALID_JSON
from rolldock.gateway.dialects.base import asked_model, fresh_id
from rolldock.gateway.dialects.chat_form import reasoning_mark, reasoning_text, text_of
from rolldock.gateway.engine_tokens import first_choice
from rolldock.gateway.sse import named_event
from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn, Usage

_MESSAGE_ID: Final = "msg_"
_PIECE_CHARACTERS: Final = 8192
"""Of text per event: some readers of streams refuse long lines."""

_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def whole_message(turn: Turn, attempt: str) -> JsonObject:
    """The message as it comes at once."""
    reason, sequence = _stop(turn)
    return {
        "id": fresh_id(_MESSAGE_ID, attempt, turn.slot),
        "type": "message",
        "role": "assistant",
        "model": asked_model(turn.request.fields),
        "content": [*_content(turn, attempt)],
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": _usage(turn.usage),
    }


def message_events(turn: Turn, attempt: str) -> bytes:
    """The message as a stream."""
    whole = whole_message(turn, attempt)
    usage = _usage(turn.usage)
    opened = {**whole, "content": [], "stop_reason": None, "stop_sequence": None}
    stopped = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    events: list[JsonObject] = [
        {"type": "message_start", "message": {**opened, "usage": {**usage, "output_tokens": 0}}}
    ]
    for number, block in enumerate(_content(turn, attempt)):
        start, deltas = _in_pieces(block)
        events.append({"type": "content_block_start", "index": number, "content_block": start})
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": number, "delta": delta})
        events.append({"type": "content_block_stop", "index": number})
    events.append({"type": "message_delta", "delta": stopped, "usage": usage})
    events.append({"type": "message_stop"})
    return b"".join(named_event(str(event["type"]), orjson.dumps(event)) for event in events)


def _content(turn: Turn, attempt: str) -> list[JsonObject]:
    message = turn.message
    blocks: list[JsonObject] = []
    if thinking := reasoning_text(message):
        mark = reasoning_mark(attempt, turn.slot)
        blocks.append({"type": "thinking", "thinking": thinking, "signature": mark})
    if text := text_of(message.get("content")) or text_of(message.get("refusal")):
        blocks.append({"type": "text", "text": text})
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(call, dict) and isinstance(function, dict):
            given = _input(function.get("arguments"))
            name = function.get("name")
            blocks.append({"type": "tool_use", "id": call.get("id"), "name": name, "input": given})
    return blocks


def _input(arguments: JsonValue) -> JsonObject:
    """A tool's input; what is no JSON object is handed over under one key that no tool has."""
    written = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    try:
        value = cast(JsonValue, orjson.loads(written.strip() or "{}"))
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {INVALID_JSON: written}


def _in_pieces(block: JsonObject) -> tuple[JsonObject, Iterator[JsonObject]]:
    """A content block as it begins, and the deltas that fill it."""
    if block["type"] == "tool_use":
        written = orjson.dumps(block["input"]).decode()
        return {**block, "input": {}}, _pieces("input_json_delta", "partial_json", written)
    if block["type"] == "text":
        return {**block, "text": ""}, _pieces("text_delta", "text", str(block["text"]))
    return {**block, "thinking": "", "signature": ""}, _thinking_pieces(block)


def _thinking_pieces(block: JsonObject) -> Iterator[JsonObject]:
    yield from _pieces("thinking_delta", "thinking", str(block["thinking"]))
    yield {"type": "signature_delta", "signature": block["signature"]}


def _pieces(kind: str, key: str, text: str) -> Iterator[JsonObject]:
    for start in range(0, len(text), _PIECE_CHARACTERS):
        yield {"type": kind, key: text[start : start + _PIECE_CHARACTERS]}


def _stop(turn: Turn) -> tuple[str, str | None]:
    """Stop reason and stop sequence; only some model servers say which sequence it was."""
    # Servers say `stop` where the agent has named the tool that must be called.
    if turn.finish_reason == "stop" and turn.message.get("tool_calls"):
        return "tool_use", None
    matched = first_choice(turn.reply.fields).get("stop_reason")
    asked = turn.request.fields.get("stop_sequences")
    if isinstance(matched, str) and isinstance(asked, list) and matched in asked:
        return "stop_sequence", matched
    return _STOP_REASONS.get(turn.finish_reason, "end_turn"), None


def _usage(usage: Usage) -> JsonObject:
    """Tokens as Anthropic counts them: what came from a cache is no part of the input."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    return {
        "input_tokens": usage.input_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }
