"""The events of a Responses stream: each by itself, and those of a response that came whole.

Which of them a live reply has sent is `openai_responses_live.py`'s business.
"""

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

_ARGUMENTS: Final = "response.function_call_arguments"


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
    events = [*first_events(begun)]
    for number, item in enumerate(output if isinstance(output, list) else []):
        if isinstance(item, dict):
            events.extend(item_events(item, number))
    events.append(last_event(response))
    return _written(events)


def first_events(begun: JsonObject) -> tuple[JsonObject, JsonObject]:
    """The events of a response that has nothing yet."""
    return (
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    )


def last_event(response: JsonObject) -> JsonObject:
    """The event that ends a response, by its status."""
    return {"type": f"response.{response['status']}", "response": response}


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


def item_events(item: JsonObject, number: int) -> Iterator[JsonObject]:
    """All events of an item, which is whole."""
    inside: JsonObject = {"output_index": number, "item_id": item["id"]}
    content = item.get("content")
    yield item_opened(item, number)
    if item["type"] == "function_call":
        yield from arguments_added(str(item["arguments"]), inside)
    for index, part in enumerate(content if isinstance(content, list) else []):
        if isinstance(part, dict):
            at: JsonObject = {**inside, "content_index": index}
            yield part_opened(part, at)
            yield from part_added(part, str(part[_key(part)]), at)
            yield from part_closed(part, at)
    yield from item_closed(item, number)


def item_opened(item: JsonObject, number: int) -> JsonObject:
    """The event that begins an item, whatever it has already."""
    begun: JsonObject = {**item, "status": "in_progress"} if "status" in item else {**item}
    if "content" in item:
        begun["content"] = []
    if item["type"] == "function_call":
        begun["arguments"] = ""
    return {"type": "response.output_item.added", "output_index": number, "item": begun}


def arguments_added(arguments: str, inside: JsonObject) -> Iterator[JsonObject]:
    """The events of a piece of a call's arguments."""
    return _deltas(_ARGUMENTS, inside, arguments, {})


def part_opened(part: JsonObject, inside: JsonObject) -> JsonObject:
    """The event that begins a part of an item, whatever it has already."""
    begun: JsonObject = {**part, _key(part): ""}
    return {"type": "response.content_part.added", **inside, "part": begun}


def part_added(part: JsonObject, text: str, inside: JsonObject) -> Iterator[JsonObject]:
    """The events of a piece of a part: text, refusal and reasoning have names of their own."""
    return _deltas(f"response.{part['type']}", inside, text, _beside(part))


def part_closed(part: JsonObject, inside: JsonObject) -> Iterator[JsonObject]:
    """The events that end a part."""
    key, kind = _key(part), f"response.{part['type']}"
    yield {"type": f"{kind}.done", **inside, key: part[key], **_beside(part)}
    yield {"type": "response.content_part.done", **inside, "part": part}


def item_closed(item: JsonObject, number: int) -> Iterator[JsonObject]:
    """The events that end an item, after those of its parts."""
    at: JsonObject = {"output_index": number}
    if item["type"] == "function_call":
        said: JsonObject = {"arguments": item["arguments"], "name": item["name"]}
        yield {"type": f"{_ARGUMENTS}.done", **at, "item_id": item["id"], **said}
    yield {"type": "response.output_item.done", **at, "item": item}


def _key(part: JsonObject) -> str:
    return "refusal" if part["type"] == "refusal" else "text"


def _beside(part: JsonObject) -> JsonObject:
    return {"logprobs": []} if part["type"] == "output_text" else {}


def _deltas(kind: str, inside: JsonObject, text: str, extra: JsonObject) -> Iterator[JsonObject]:
    for start in range(0, len(text), _PIECE_CHARACTERS):
        piece: JsonValue = text[start : start + _PIECE_CHARACTERS]
        yield {"type": f"{kind}.delta", **inside, "delta": piece, **extra}


def _written(events: list[JsonObject]) -> bytes:
    return b"".join(
        named_event(str(event["type"]), orjson.dumps(numbered(event, number)))
        for number, event in enumerate(events)
    )


def numbered(event: JsonObject, number: int) -> JsonObject:
    """An event with its place in the stream."""
    return {**event, "sequence_number": number}
