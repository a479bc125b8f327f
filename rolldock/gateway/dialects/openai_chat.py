"""OpenAI chat completions as agents speak them. Streams are in `openai_chat_stream.py`."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.conversation import tool_call_ids
from rolldock.gateway.dialects.base import (
    AgentRequest,
    Dialect,
    LiveStream,
    fresh_id,
    request_digest,
)
from rolldock.gateway.dialects.openai_chat_stream import ChatLiveStream, whole_as_events
from rolldock.gateway.engine_tokens import COMPLETION_IDS, PROMPT_IDS, first_choice
from rolldock.gateway.refusals import RefusedError
from rolldock.gateway.sse import event
from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn

RESPONSE_ID: Final = "chatcmpl-"
_CALL_ID: Final = "call_"
_RETRY_HEADER: Final = "x-stainless-retry-count"
_IDEMPOTENCY_HEADER: Final = "Idempotency-Key"


class OpenAIChat(Dialect):
    """`POST /v1/chat/completions`."""

    name = "openai.chat"
    paths = ("/v1/chat/completions", "/chat/completions")

    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _wrong("messages", "must be a list with at least one message")
        if not all(isinstance(message, dict) for message in messages):
            raise _wrong("messages", "every message must be an object")
        if body.get("n") not in (None, 1):
            raise _wrong("n", "only one choice per call is recorded; ask for 1")
        stream = body.get("stream")
        if stream is not None and not isinstance(stream, bool):
            raise _wrong("stream", "must be true or false")
        retries = headers.get(_RETRY_HEADER, "0")
        return AgentRequest(
            raw=raw,
            body=body,
            digest=request_digest(body),
            messages=tuple(messages),
            stream=bool(stream),
            idempotency_key=headers.get(_IDEMPOTENCY_HEADER),
            retry_count=int(retries) if retries.isdecimal() else 0,
        )

    def chat_body(self, request: AgentRequest) -> JsonObject:
        return request.body

    def canonical(self, message: JsonValue) -> bytes:
        if not isinstance(message, dict):
            return orjson.dumps(message)
        role = message.get("role")
        content = _plain_content(message.get("content"))
        if role == "assistant" and isinstance(content, str):
            # Agents trim what they write back; token prefixes are not decided here.
            content = content.strip()
        calls = message.get("tool_calls")
        kept = [_plain_call(call) for call in calls] if isinstance(calls, list) else []
        return orjson.dumps([role, content, kept], option=orjson.OPT_SORT_KEYS)

    def own_message(
        self, message: JsonObject, request: AgentRequest, attempt: str, slot: int
    ) -> JsonObject:
        calls = message.get("tool_calls")
        if not isinstance(calls, list) or not calls:
            return message
        seen = set[str]().union(*(tool_call_ids(earlier) for earlier in request.messages))
        own: list[JsonValue] = []
        for number, call in enumerate(calls):
            if isinstance(call, dict):
                given = call.get("id")
                if not isinstance(given, str) or not given or given in seen:
                    given = fresh_id(_CALL_ID, attempt, slot, (number,))
                seen.add(given)
                call = {**call, "id": given}
            own.append(call)
        return {**message, "tool_calls": own}

    def render(self, turn: Turn, attempt: str) -> bytes:
        whole = _whole(turn, attempt)
        if not turn.streamed:
            return orjson.dumps(whole)
        return whole_as_events(whole, with_usage=wants_usage(turn.request.fields))

    def live(self, request: AgentRequest, attempt: str, slot: int) -> LiveStream:
        return ChatLiveStream(
            response_id=fresh_id(RESPONSE_ID, attempt, slot),
            call_id=lambda number: fresh_id(_CALL_ID, attempt, slot, (number,)),
            model=_asked_model(request.body),
            with_usage=wants_usage(request.body),
            with_logprobs=request.body.get("logprobs") is True,
        )

    def models(self, model: str) -> JsonObject:
        entry: JsonObject = {"id": model, "object": "model", "created": 0, "owned_by": "rolldock"}
        return {"object": "list", "data": [entry]}

    def error(self, message: str, kind: str, code: str) -> JsonObject:
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def error_event(self, error: bytes) -> bytes:
        return event(error)


def wants_usage(fields: JsonObject) -> bool:
    """Whether a request asks for a usage chunk at the end of its stream."""
    options = fields.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _wrong(field: str, what: str) -> RefusedError:
    return RefusedError(400, "invalid_value", f"{field}: {what}")


def _asked_model(fields: JsonObject) -> str:
    model = fields.get("model")
    return model if isinstance(model, str) else "default"


def _whole(turn: Turn, attempt: str) -> JsonObject:
    """The completion as the agent gets it: its model's name, a fresh id, no ids of tokens."""
    reply = turn.reply.fields
    choice = {key: value for key, value in first_choice(reply).items() if key != COMPLETION_IDS}
    choice |= {"index": 0, "message": turn.message, "finish_reason": turn.finish_reason}
    if turn.request.fields.get("logprobs") is not True:
        choice["logprobs"] = None
    usage: JsonObject = {
        "prompt_tokens": turn.usage.input_tokens,
        "completion_tokens": turn.usage.output_tokens,
        "total_tokens": turn.usage.input_tokens + turn.usage.output_tokens,
    }
    kept = {key: value for key, value in reply.items() if key != PROMPT_IDS}
    created = reply.get("created")
    return {
        **kept,
        "id": fresh_id(RESPONSE_ID, attempt, turn.slot),
        "object": "chat.completion",
        "created": created if isinstance(created, int) else int(turn.ended_at.timestamp()),
        "model": _asked_model(turn.request.fields),
        "choices": [choice],
        "usage": reply.get("usage") or usage,
    }


def _plain_content(content: JsonValue) -> JsonValue:
    """Text as one string however it is split; anything else without cache marks."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict)]
    texts = [part.get("text") for part in parts if part.get("type") == "text"]
    if len(texts) == len(content):
        return "".join(text for text in texts if isinstance(text, str))
    return [{key: part[key] for key in part if key != "cache_control"} for part in parts]


def _plain_call(call: JsonValue) -> JsonValue:
    """A tool call's name and arguments; its id is the agent's to rewrite."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(orjson.JSONDecodeError):
            arguments = cast(JsonValue, orjson.loads(arguments or "{}"))
    return [function.get("name"), arguments]
