"""Anthropic Messages as agents speak them, translated to chat completions and back.

The conversation is in `anthropic_blocks.py`, the other fields in `anthropic_request.py`, answers in
`anthropic_reply.py` and, as they come, in `anthropic_live.py`.
"""

from collections.abc import Mapping
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.anthropic_blocks import ChatMessages
from rolldock.gateway.dialects.anthropic_live import AnthropicLiveStream
from rolldock.gateway.dialects.anthropic_reply import message_events, whole_message
from rolldock.gateway.dialects.anthropic_request import chat_fields
from rolldock.gateway.dialects.base import (
    AgentRequest,
    Dialect,
    LiveStream,
    NativeConversation,
    agent_request,
    wrong,
)
from rolldock.gateway.sse import named_event
from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn

_ERROR_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_TOO_LONG: Final = "prompt is too long: "
"""How Anthropic begins that sentence: agents look for it and compact their conversation."""

_BYTES_PER_TOKEN: Final = 4
"""Of text and JSON in the tokenizers of today's models, roughly."""

_TOKENS_PER_IMAGE: Final = 1600
"""The most that Anthropic counts for one."""


class AnthropicMessages(Dialect):
    """`POST /v1/messages`, and `count_tokens` beside it."""

    name = "anthropic.messages"
    paths = ("/v1/messages", "/messages")
    count_paths = ("/v1/messages/count_tokens", "/messages/count_tokens")
    header = "anthropic-version"
    call_id_prefix = "toolu_"

    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        items = _messages(body)
        last = items[-1]
        if isinstance(last, dict) and last.get("role") == "assistant":
            raise wrong(f"messages[{len(items) - 1}]", "a prefilled answer cannot be translated")
        chat = _chat_messages(body)
        return agent_request(
            raw,
            body,
            headers,
            messages=chat.messages,
            chat=chat_fields(body),
            native=NativeConversation("messages", tuple(items), ("system", "tools")),
            sent_back=chat.sent_back,
        )

    def render(self, turn: Turn, attempt: str) -> bytes:
        if turn.streamed:
            return message_events(turn, attempt)
        return orjson.dumps(whole_message(turn, attempt))

    def live(self, request: AgentRequest, attempt: str, slot: int) -> LiveStream:
        def own(message: JsonObject) -> JsonObject:
            return self.own_message(message, request, attempt, slot)

        return AnthropicLiveStream(own, request.body, attempt, slot)

    def models(self, model: str) -> JsonObject:
        entry: JsonObject = {
            "type": "model",
            "id": model,
            "display_name": model,
            "created_at": "1970-01-01T00:00:00Z",
        }
        return {"data": [entry], "has_more": False, "first_id": model, "last_id": model}

    def count(self, body: JsonObject) -> JsonObject:
        chat = _chat_messages(body)
        texts = [_without_images(message) for message in chat.messages]
        n_images = sum(n for _, n in texts)
        asked = [message for message, _ in texts]
        n_bytes = len(orjson.dumps([asked, chat_fields(body).get("tools")])) + chat.n_thinking
        n_tokens = -(-n_bytes // _BYTES_PER_TOKEN) + n_images * _TOKENS_PER_IMAGE
        return {"input_tokens": n_tokens}

    def error(self, message: str, kind: str, code: str, status: int) -> JsonObject:
        if code == "context_length_exceeded":
            message = _TOO_LONG + message
        fallback = "invalid_request_error" if status < 500 else "api_error"
        named = _ERROR_TYPES.get(status, fallback)
        return {"type": "error", "error": {"type": named, "message": message}}

    def error_event(self, error: bytes) -> bytes:
        return named_event("error", error)


def _messages(body: JsonObject) -> list[JsonValue]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "must be a list with at least one message")
    return messages


def _chat_messages(body: JsonObject) -> ChatMessages:
    chat = ChatMessages()
    chat.add_system(body.get("system"), "system")
    for number, message in enumerate(_messages(body)):
        chat.add(message, f"messages[{number}]")
    return chat


def _without_images(message: JsonValue) -> tuple[JsonValue, int]:
    """A chat message without its images, and how many they are."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(content, list):
        return message, 0
    texts: list[JsonValue] = [
        part for part in content if isinstance(part, dict) and part.get("type") == "text"
    ]
    return {**message, "content": texts}, len(content) - len(texts)
