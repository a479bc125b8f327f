"""Responses' answers, whole and as streams, read for what a turn says of them."""

from typing import Final

from pydantic import JsonValue

from rolldock.gateway.completions import Completion, NotACompletionError, error_message
from rolldock.gateway.dialects.base_native import NativeStream, Part, ReportedError
from rolldock.gateway.dialects.openai_responses_items_native import assistant_message, reasoning_of
from rolldock.gateway.json_bodies import BodyError, parse_object
from rolldock.gateway.sse import DONE
from rolldock.models.base import JsonObject
from rolldock.models.turn import Usage

_STATUSES: Final = {
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "vector_store_timeout": 504,
    "server_is_overloaded": 503,
    "slow_down": 503,
}
"""Of the errors that may pass by themselves; any other is the request's own fault."""

_OPENING: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDING: Final = frozenset({"response.completed", "response.incomplete"})

_INCOMPLETE: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}


def read_response(body: JsonObject) -> Completion:
    """Read a whole response.

    Raises:
        NotACompletionError: it is none, or it is not at its end.
        ReportedError: it failed.
    """
    raise_error(body)
    output, status = body.get("output"), body.get("status")
    if body.get("object") != "response" or not isinstance(output, list):
        raise NotACompletionError("it is no response with output")
    if status not in ("completed", "incomplete"):
        raise NotACompletionError(f"its status is {status!r}")
    items = [item for item in output if isinstance(item, dict)]
    message = assistant_message(items)
    if reasoning := reasoning_of(items):
        message["reasoning_content"] = reasoning
    return Completion(body, message, _finish_reason(body, message), _usage(body.get("usage")))


def raise_error(body: JsonObject) -> None:
    """Raise if a body is an error or a failed response.

    Raises:
        ReportedError: it is one.
    """
    error = body.get("error")
    failed = body.get("status") == "failed" or body.get("object") != "response"
    if not (failed and isinstance(error, dict)):
        return
    code = error.get("code") or error.get("type")
    status = _STATUSES.get(code, 400) if isinstance(code, str) else 500
    shaped: JsonObject = {"type": code, "param": None, **error}
    raise ReportedError(status, error_message(body) or "no message", {"error": shaped})


class ResponseStream(NativeStream):
    """The events of one response."""

    def __init__(self) -> None:
        self._items: list[JsonValue] = []
        self._response: JsonObject | None = None

    def take(self, data: bytes) -> Part:
        if data == DONE:
            return Part.ENDING
        try:
            event = parse_object(data)
        except BodyError as error:
            raise NotACompletionError(str(error)) from None
        kind, response = event.get("type"), event.get("response")
        if kind == "error":
            raise_error({"error": event.get("error") or {**event, "type": event.get("code")}})
        if kind == "response.failed" and isinstance(response, dict):
            raise_error(response)
        if kind == "response.output_item.done":
            self._items.append(event.get("item"))
        if kind in _ENDING and isinstance(response, dict):
            self._response = response
            return Part.ENDING
        return Part.OPENING if kind in _OPENING else Part.BODY

    def completion(self) -> Completion:
        response = self._response
        if response is None:
            raise NotACompletionError("its stream ended before response.completed")
        # Some servers leave the output out of the last event: it has come before.
        read = read_response({**response, "output": response.get("output") or self._items})
        kept: JsonObject = {"id": response.get("id")}
        return Completion(kept, read.message, read.finish_reason, read.usage)


def _finish_reason(body: JsonObject, message: JsonObject) -> str:
    if body.get("status") == "incomplete":
        details = body.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return _INCOMPLETE.get(reason, reason) if isinstance(reason, str) else "unknown"
    return "tool_calls" if message.get("tool_calls") else "stop"


def _usage(value: JsonValue) -> Usage:
    usage = value if isinstance(value, dict) else {}
    details = usage.get("input_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(
        input_tokens=_count(usage.get("input_tokens")),
        output_tokens=_count(usage.get("output_tokens")),
        cached_tokens=_count(cached),
    )


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) and value > 0 else 0
