"""A turn as a Responses object: its reasoning, text and calls are items with ids of their own.

The request's instructions and tools are not repeated in it. A reasoning item brings the turn's
mark as its encrypted content, whether the request asked for that or not: without it the reasoning
could not be restored.
"""

from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base import asked_model, fresh_id
from rolldock.gateway.dialects.chat_form import (
    reasoning_fields,
    reasoning_mark,
    reasoning_text,
    text_of,
)
from rolldock.gateway.dialects.openai_responses_tools import bare_name
from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn, Usage

NAMESPACE: Final = "namespace"
"""Where a stored tool call keeps the namespace that its function was declared in."""

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_REPEATED: Final[JsonObject] = {
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
}
"""Fields of the request that a response repeats, with what stands there otherwise."""


def response_of(turn: Turn, attempt: str) -> JsonObject:
    """The whole response to a turn's request."""
    created = turn.reply.fields.get("created")
    begun = begun_response(
        attempt,
        turn.slot,
        turn.request.fields,
        created if isinstance(created, int) else int(turn.ended_at.timestamp()),
        turn.sampling,
    )
    items = _items(turn, attempt)
    return ended_response(begun, items, turn.finish_reason, turn.usage, turn.reply.fields)


def begun_response(
    attempt: str, slot: int, asked: JsonObject, created: int, sampling: JsonObject
) -> JsonObject:
    """A response before anything is in it; `asked`: the request's fields, `created`: seconds."""
    return {
        "id": fresh_id("resp_", attempt, slot),
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": asked_model(asked),
        "output": [],
        "previous_response_id": None,
        "store": False,
        "temperature": sampling.get("temperature"),
        "top_p": sampling.get("top_p"),
        "tools": [],
        "truncation": "disabled",
        "usage": None,
        **{
            key: default if asked.get(key) is None else asked[key]
            for key, default in _REPEATED.items()
        },
    }


def ended_response(
    begun: JsonObject,
    items: list[JsonObject],
    finish_reason: str,
    usage: Usage,
    reply: JsonObject,
) -> JsonObject:
    """A response with all that it has; `reply`: the fields of the model server's."""
    why = _INCOMPLETE.get(finish_reason)
    return {
        **begun,
        "status": "completed" if why is None else "incomplete",
        "incomplete_details": None if why is None else {"reason": why},
        "output": [*items],
        "usage": _usage(usage, reply),
    }


def item_status(finish_reason: str) -> str:
    """The status of a reply's last item, where it has one."""
    return "incomplete" if finish_reason in _INCOMPLETE else "completed"


def _items(turn: Turn, attempt: str) -> list[JsonObject]:
    """Reasoning, text, calls; the last item of a cut reply is incomplete."""
    calls = turn.message.get("tool_calls")
    items = [
        *_reasoning(turn, attempt),
        *_message(turn, attempt),
        *(
            call_item(call, attempt, turn.slot, number)
            for number, call in enumerate(calls if isinstance(calls, list) else [])
            if isinstance(call, dict)
        ),
    ]
    if not items:
        items = [message_item(attempt, turn.slot, [text_part("")])]
    if "status" in items[-1]:
        items[-1]["status"] = item_status(turn.finish_reason)
    return items


def _reasoning(turn: Turn, attempt: str) -> list[JsonObject]:
    if not reasoning_fields(turn.message):
        return []
    text = reasoning_text(turn.message)
    return [reasoning_item(attempt, turn.slot, [reasoning_part(text)] if text else [])]


def _message(turn: Turn, attempt: str) -> list[JsonObject]:
    text, refusal = text_of(turn.message.get("content")), turn.message.get("refusal")
    content: list[JsonValue] = [text_part(text)] if text else []
    if isinstance(refusal, str) and refusal:
        content.append(refusal_part(refusal))
    return [message_item(attempt, turn.slot, content)] if content else []


def reasoning_item(attempt: str, slot: int, content: list[JsonValue]) -> JsonObject:
    """A turn's reasoning, of which there is one item."""
    return {
        "id": fresh_id("rs_", attempt, slot),
        "type": "reasoning",
        "summary": [],
        "content": content,
        "encrypted_content": reasoning_mark(attempt, slot),
    }


def message_item(attempt: str, slot: int, content: list[JsonValue], number: int = 0) -> JsonObject:
    """What a turn says; `number`: how many calls came before it."""
    return {
        "id": fresh_id("msg_", attempt, slot, (number,) if number else ()),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }


def call_item(call: JsonObject, attempt: str, slot: int, number: int) -> JsonObject:
    """A turn's tool call `number`, which has an id of its own."""
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments, namespace = function.get("arguments"), call.get(NAMESPACE)
    if not isinstance(arguments, str):
        arguments = orjson.dumps({} if arguments is None else arguments).decode()
    item: JsonObject = {
        "id": fresh_id("fc_", attempt, slot, (number,)),
        "type": "function_call",
        "status": "completed",
        "call_id": call.get("id"),
        "name": bare_name(namespace, str(function.get("name", ""))),
        "arguments": arguments,
    }
    return item if namespace is None else {**item, NAMESPACE: namespace}


def reasoning_part(text: str) -> JsonObject:
    """Content of a reasoning item."""
    return {"type": "reasoning_text", "text": text}


def text_part(text: str) -> JsonObject:
    """Content of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> JsonObject:
    """Content of a message that says no."""
    return {"type": "refusal", "refusal": text}


def _usage(counted: Usage, reply: JsonObject) -> JsonObject:
    return {
        "input_tokens": counted.input_tokens,
        "input_tokens_details": {"cached_tokens": counted.cached_tokens},
        "output_tokens": counted.output_tokens,
        "output_tokens_details": {"reasoning_tokens": _reasoning_tokens(reply)},
        "total_tokens": counted.input_tokens + counted.output_tokens,
    }


def _reasoning_tokens(reply: JsonObject) -> int:
    usage = reply.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return count if isinstance(count, int) and count > 0 else 0
