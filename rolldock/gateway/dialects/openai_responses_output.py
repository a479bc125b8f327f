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
from rolldock.models.turn import Turn

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
    asked, created = turn.request.fields, turn.reply.fields.get("created")
    why = _INCOMPLETE.get(turn.finish_reason)
    return {
        "id": fresh_id("resp_", attempt, turn.slot),
        "object": "response",
        "created_at": created if isinstance(created, int) else int(turn.ended_at.timestamp()),
        "status": "completed" if why is None else "incomplete",
        "error": None,
        "incomplete_details": None if why is None else {"reason": why},
        "instructions": None,
        "model": asked_model(asked),
        "output": [*_items(turn, attempt)],
        "previous_response_id": None,
        "store": False,
        "temperature": turn.sampling.get("temperature"),
        "top_p": turn.sampling.get("top_p"),
        "tools": [],
        "truncation": "disabled",
        "usage": _usage(turn),
        **{
            key: default if asked.get(key) is None else asked[key]
            for key, default in _REPEATED.items()
        },
    }


def _items(turn: Turn, attempt: str) -> list[JsonObject]:
    """Reasoning, text, calls; the last item of a cut reply is incomplete."""
    calls = turn.message.get("tool_calls")
    items = [
        *_reasoning(turn, attempt),
        *_message(turn, attempt),
        *(
            _call(call, fresh_id("fc_", attempt, turn.slot, (number,)))
            for number, call in enumerate(calls if isinstance(calls, list) else [])
            if isinstance(call, dict)
        ),
    ]
    if not items:
        items = [_message_item(turn, attempt, [_output_text("")])]
    if turn.finish_reason in _INCOMPLETE and "status" in items[-1]:
        items[-1]["status"] = "incomplete"
    return items


def _reasoning(turn: Turn, attempt: str) -> list[JsonObject]:
    if not reasoning_fields(turn.message):
        return []
    text = reasoning_text(turn.message)
    content: list[JsonValue] = [{"type": "reasoning_text", "text": text}] if text else []
    item: JsonObject = {
        "id": fresh_id("rs_", attempt, turn.slot),
        "type": "reasoning",
        "summary": [],
        "content": content,
        "encrypted_content": reasoning_mark(attempt, turn.slot),
    }
    return [item]


def _message(turn: Turn, attempt: str) -> list[JsonObject]:
    text, refusal = text_of(turn.message.get("content")), turn.message.get("refusal")
    content: list[JsonValue] = [_output_text(text)] if text else []
    if isinstance(refusal, str) and refusal:
        content.append({"type": "refusal", "refusal": refusal})
    return [_message_item(turn, attempt, content)] if content else []


def _message_item(turn: Turn, attempt: str, content: list[JsonValue]) -> JsonObject:
    return {
        "id": fresh_id("msg_", attempt, turn.slot),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }


def _output_text(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(call: JsonObject, item_id: str) -> JsonObject:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments, namespace = function.get("arguments"), call.get(NAMESPACE)
    if not isinstance(arguments, str):
        arguments = orjson.dumps({} if arguments is None else arguments).decode()
    item: JsonObject = {
        "id": item_id,
        "type": "function_call",
        "status": "completed",
        "call_id": call.get("id"),
        "name": bare_name(namespace, str(function.get("name", ""))),
        "arguments": arguments,
    }
    return item if namespace is None else {**item, NAMESPACE: namespace}


def _usage(turn: Turn) -> JsonObject:
    counted = turn.usage
    return {
        "input_tokens": counted.input_tokens,
        "input_tokens_details": {"cached_tokens": counted.cached_tokens},
        "output_tokens": counted.output_tokens,
        "output_tokens_details": {"reasoning_tokens": _reasoning_tokens(turn.reply.fields)},
        "total_tokens": counted.input_tokens + counted.output_tokens,
    }


def _reasoning_tokens(reply: JsonObject) -> int:
    usage = reply.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return count if isinstance(count, int) and count > 0 else 0
