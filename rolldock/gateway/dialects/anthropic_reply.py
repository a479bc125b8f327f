"""A turn as Anthropic's message: whole, or as the stream that a server would have sent for it."""

from collections.abc import Iterable, Iterator
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.anthropic_blocks import INVALID_JSON
from rolldock.gateway.dialects.anthropic_input import read_input
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
    begun = begun_message(attempt, turn.slot, turn.request.fields)
    content: list[JsonValue] = [*_content(turn, attempt)]
    return {**begun, "content": content, **_stop_of(turn), "usage": usage_of(turn.usage)}


def message_events(turn: Turn, attempt: str) -> bytes:
    """The message as a stream."""
    begun, usage = begun_message(attempt, turn.slot, turn.request.fields), usage_of(turn.usage)
    begun["usage"] = {**usage, "output_tokens": 0}
    events: list[JsonObject] = [{"type": "message_start", "message": begun}]
    for number, block in enumerate(_content(turn, attempt)):
        start, deltas = _in_pieces(block)
        events.append({"type": "content_block_start", "index": number, "content_block": start})
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": number, "delta": delta})
        events.append({"type": "content_block_stop", "index": number})
    events.extend(last_events(_stop_of(turn), usage))
    return b"".join(named_event(str(event["type"]), orjson.dumps(event)) for event in events)


def begun_message(attempt: str, slot: int, asked: JsonObject) -> JsonObject:
    """A message before anything is in it; `asked`: the request's fields."""
    return {
        "id": fresh_id(_MESSAGE_ID, attempt, slot),
        "type": "message",
        "role": "assistant",
        "model": asked_model(asked),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage_of(Usage())},
    }


def last_events(stopped: JsonObject, usage: JsonObject) -> Iterable[JsonObject]:
    """The events that end a stream."""
    return (
        {"type": "message_delta", "delta": stopped, "usage": usage},
        {"type": "message_stop"},
    )


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
            blocks.append({**begun_call(call, function), "input": given})
    return blocks


def begun_call(call: JsonObject, function: JsonObject) -> JsonObject:
    """The block of a tool call, without its input."""
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": {}}


def _input(arguments: JsonValue) -> JsonObject:
    """A tool's input; what is no JSON object is handed over under one key that no tool has."""
    written = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    value = read_input(written)
    return {INVALID_JSON: written} if value is None else value


def _in_pieces(block: JsonObject) -> tuple[JsonObject, Iterator[JsonObject]]:
    """A content block as it begins, and the deltas that fill it."""
    if block["type"] == "tool_use":
        written = orjson.dumps(block["input"]).decode()
        return {**block, "input": {}}, pieces("input_json_delta", "partial_json", written)
    if block["type"] == "text":
        return {**block, "text": ""}, pieces("text_delta", "text", str(block["text"]))
    return {**block, "thinking": "", "signature": ""}, _thinking_pieces(block)


def _thinking_pieces(block: JsonObject) -> Iterator[JsonObject]:
    yield from pieces("thinking_delta", "thinking", str(block["thinking"]))
    yield {"type": "signature_delta", "signature": block["signature"]}


def pieces(kind: str, key: str, text: str) -> Iterator[JsonObject]:
    """The deltas of a text, of whatever length."""
    for start in range(0, len(text), _PIECE_CHARACTERS):
        yield {"type": kind, key: text[start : start + _PIECE_CHARACTERS]}


def _stop_of(turn: Turn) -> JsonObject:
    return stop(turn.finish_reason, turn.message, turn.reply.fields, turn.request.fields)


def stop(
    finish_reason: str, message: JsonObject, reply: JsonObject, asked: JsonObject
) -> JsonObject:
    """Stop reason and stop sequence; only some model servers say which sequence it was."""
    reason, sequence = _STOP_REASONS.get(finish_reason, "end_turn"), None
    matched = first_choice(reply).get("stop_reason")
    sequences = asked.get("stop_sequences")
    # Servers say `stop` where the agent has named the tool that must be called.
    if finish_reason == "stop" and message.get("tool_calls"):
        reason = "tool_use"
    elif isinstance(matched, str) and isinstance(sequences, list) and matched in sequences:
        reason, sequence = "stop_sequence", matched
    return {"stop_reason": reason, "stop_sequence": sequence}


def usage_of(usage: Usage) -> JsonObject:
    """Tokens as Anthropic counts them: what came from a cache is no part of the input."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    return {
        "input_tokens": usage.input_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }
