"""What the stand-in of `native_server.py` answers: bodies and events as the vendors write them.

With fields that no client knows; ids are fresh per call. Nothing is sent here.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import orjson
from pydantic import JsonValue

from rolldock.models.base import JsonObject


@dataclass
class NativePlan:
    """How one call is answered."""

    content: list[JsonObject] = field(default_factory=lambda: [text_block("Hello there.")])
    """Anthropic's content blocks, or Responses' output items."""
    stop_reason: str = "end_turn"
    """Of Responses: `incomplete` with this reason, unless it is `end_turn` or `tool_use`."""
    status: int = 200
    error: JsonObject | None = None
    """The body of an error; with status 200 it comes in the place of the reply."""
    retry_after: str | None = None
    late_error: JsonObject | None = None
    """An event in the middle of a stream, which ends it."""
    early_error: JsonObject | None = None
    """The same before the reply has said anything."""
    gate: asyncio.Event | None = None
    """Waited for before a whole reply, or in the middle of a stream."""
    cut: bool = False
    """The connection breaks there."""
    ends_early: bool = False
    """The stream closes cleanly there."""
    line: bytes = b"\n"
    write: Callable[[JsonObject], bytes] = orjson.dumps


def text_block(text: str) -> JsonObject:
    """Anthropic's block of text."""
    return {"type": "text", "text": text}


def output_text(text: str) -> JsonObject:
    """Responses' message of one text."""
    part: JsonObject = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "role": "assistant", "status": "completed", "content": [part]}


def message(plan: NativePlan, number: int, asked: JsonObject) -> JsonObject:
    """Anthropic's message for call `number`."""
    return {
        "model": f"{asked['model']}-20260101",
        "id": f"msg_01{number:022}",
        "type": "message",
        "role": "assistant",
        "content": [*plan.content],
        "stop_reason": plan.stop_reason,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
            "service_tier": "standard",
        },
    }


def message_events(plan: NativePlan, whole: JsonObject) -> Iterator[JsonObject]:
    """The same as a stream."""
    usage = cast(JsonObject, whole["usage"])
    counted: JsonObject = {**usage, "output_tokens": 1}
    begun: JsonObject = {**whole, "content": [], "stop_reason": None, "usage": counted}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    if plan.early_error is not None:
        yield plan.early_error
        return
    for index, block in enumerate(plan.content):
        start, deltas = _block_events(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            if plan.late_error is not None:
                yield plan.late_error
                return
        yield {"type": "content_block_stop", "index": index}
    stopped: JsonObject = {"stop_reason": plan.stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": stopped, "usage": {"output_tokens": 5}}
    yield {"type": "message_stop"}


def _block_events(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    match block["type"]:
        case "text":
            words = str(block["text"]).split(" ")
            pieces = [*(f"{word} " for word in words[:-1]), words[-1]]
            deltas: list[JsonObject] = [{"type": "text_delta", "text": piece} for piece in pieces]
            return {**block, "text": ""}, deltas
        case "thinking":
            thought: JsonObject = {"type": "thinking_delta", "thinking": block["thinking"]}
            signed: JsonObject = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [thought, signed]
        case "tool_use" | "server_tool_use":
            written = orjson.dumps(block["input"]).decode()
            halves = ["", written[:7], written[7:]]
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": half} for half in halves
            ]
        case _:
            return block, []


def response(plan: NativePlan, number: int, asked: JsonObject) -> JsonObject:
    """OpenAI's response for call `number`."""
    is_whole = plan.stop_reason in ("end_turn", "tool_use")
    return {
        "id": f"resp_{number:048}",
        "object": "response",
        "created_at": 1_790_000_000 + number,
        "status": "completed" if is_whole else "incomplete",
        "background": False,
        "error": None,
        "incomplete_details": None if is_whole else {"reason": plan.stop_reason},
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "model": f"{asked['model']}-2026-01-01",
        "output": [{"id": f"it_{number}_{n}", **item} for n, item in enumerate(plan.content)],
        "parallel_tool_calls": True,
        "previous_response_id": asked.get("previous_response_id"),
        "store": asked.get("store", True),
        "temperature": asked.get("temperature", 1.0),
        "tool_choice": "auto",
        "tools": asked.get("tools", []),
        "top_p": 1.0,
        "usage": {
            "input_tokens": 60,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 65,
        },
    }


def response_events(plan: NativePlan, whole: JsonObject) -> Iterator[JsonObject]:
    """The same as a stream."""
    for number, event in enumerate(_unnumbered(plan, whole)):
        yield {**event, "sequence_number": number}


def _unnumbered(plan: NativePlan, whole: JsonObject) -> Iterator[JsonObject]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    if plan.early_error is not None:
        yield plan.early_error
        return
    for index, item in enumerate(cast(list[JsonObject], whole["output"])):
        at: JsonObject = {"output_index": index}
        inside: JsonObject = {**at, "item_id": item["id"]}
        yield {"type": "response.output_item.added", **at, "item": _begun(item)}
        for event in _item_events(item, inside):
            yield event
            if plan.late_error is not None:
                yield plan.late_error
                return
        yield {"type": "response.output_item.done", **at, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


def _begun(item: JsonObject) -> JsonObject:
    empty: JsonObject = {"content": [], "arguments": ""}
    kept = {key: empty.get(key, value) for key, value in item.items()}
    return {**kept, "status": "in_progress"} if "status" in item else kept


def _item_events(item: JsonObject, inside: JsonObject) -> Iterator[JsonObject]:
    if item["type"] == "function_call":
        written = str(item["arguments"])
        kind = "response.function_call_arguments"
        yield {"type": f"{kind}.delta", **inside, "delta": written}
        yield {"type": f"{kind}.done", **inside, "arguments": written, "name": item["name"]}
    if item["type"] != "message":
        return
    parts = cast(list[JsonObject], item["content"])
    for index, part in enumerate(parts):
        at: JsonObject = {**inside, "content_index": index}
        yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
        for word in str(part["text"]).split(" "):
            delta: JsonValue = f"{word} "
            yield {"type": "response.output_text.delta", **at, "delta": delta, "logprobs": []}
        yield {
            "type": "response.output_text.done",
            **at,
            "text": part["text"],
            "logprobs": [],
        }
        yield {"type": "response.content_part.done", **at, "part": part}
