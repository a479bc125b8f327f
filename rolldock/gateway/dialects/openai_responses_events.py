"""A Responses object as the stream of events that a server would have sent for it."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import error_message
from rolldock.gateway.sse import named_event
from rolldock.models.base import JsonObject

_PIECE_CHARACTERS: Final = 8192
"""Of text per delta: some readers of streams refuse long lines."""


def response_as_events(response: JsonObject) -> bytes:
    """The events of a whole response, from `response.created` to the one that ends it."""
    begun: JsonObject = {
        **response,
        "status": "in_progress",
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    output = response.get("output")
    events: list[JsonObject] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for number, item in enumerate(output if isinstance(output, list) else []):
        if isinstance(item, dict):
            events.extend(_item_events(item, number))
    events.append({"type": f"response.{response['status']}", "response": response})
    return _written(events)


def error_as_events(error: bytes) -> bytes:
    """An error body as `error` and `response.failed`: clients look for the one or the other."""
    body: JsonObject = orjson.loads(error)
    said = body.get("error")
    said = said if isinstance(said, dict) else {}
    code = str(said.get("code") or "server_error")
    message = error_message(body) or "the call failed"
    failed: JsonObject = {
        "id": f"resp_{uuid.uuid4().hex[:24]}",
        "object": "response",
        "created_at": int(datetime.now(UTC).timestamp()),
        "status": "failed",
        "error": {"code": code, "message": message},
        "incomplete_details": None,
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }
    return _written(
        [
            {"type": "error", "code": code, "message": message, "param": said.get("param")},
            {"type": "response.failed", "response": failed},
        ]
    )


def _item_events(item: JsonObject, number: int) -> Iterator[JsonObject]:
    at: JsonObject = {"output_index": number}
    inside: JsonObject = {**at, "item_id": item["id"]}
    begun: JsonObject = {**item, "status": "in_progress"} if "status" in item else {**item}
    content = item.get("content")
    if isinstance(content, list):
        begun["content"] = []
    if item["type"] == "function_call":
        begun["arguments"] = ""
    yield {"type": "response.output_item.added", **at, "item": begun}
    if item["type"] == "function_call":
        text = str(item["arguments"])
        kind = "response.function_call_arguments"
        yield from _deltas(kind, inside, text, {})
        yield {"type": f"{kind}.done", **inside, "arguments": text, "name": item["name"]}
    for index, part in enumerate(content if isinstance(content, list) else []):
        if isinstance(part, dict):
            yield from _part_events(part, {**inside, "content_index": index})
    yield {"type": "response.output_item.done", **at, "item": item}


def _part_events(part: JsonObject, inside: JsonObject) -> Iterator[JsonObject]:
    """Text, refusal or reasoning: each has events of its own name."""
    key = "refusal" if part["type"] == "refusal" else "text"
    kind, text = f"response.{part['type']}", str(part[key])
    extra: JsonObject = {"logprobs": []} if part["type"] == "output_text" else {}
    yield {"type": "response.content_part.added", **inside, "part": {**part, key: ""}}
    yield from _deltas(kind, inside, text, extra)
    yield {"type": f"{kind}.done", **inside, key: text, **extra}
    yield {"type": "response.content_part.done", **inside, "part": part}


def _deltas(kind: str, inside: JsonObject, text: str, extra: JsonObject) -> Iterator[JsonObject]:
    for start in range(0, len(text), _PIECE_CHARACTERS):
        piece: JsonValue = text[start : start + _PIECE_CHARACTERS]
        yield {"type": f"{kind}.delta", **inside, "delta": piece, **extra}


def _written(events: list[JsonObject]) -> bytes:
    return b"".join(
        named_event(str(event["type"]), orjson.dumps({**event, "sequence_number": number}))
        for number, event in enumerate(events)
    )
