"""Anthropic's Messages: requests as chat completions, replies as content blocks and their events.

It thinks nothing, caches nothing, and has no tools of its own; offers of such tools are passed
over. Shapes are those of platform.claude.com/docs (Messages, Streaming, Errors).
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from rolldock.models.base import JsonObject

from .play import Call, Played
from .request import CalledFunction, CalledTool, ChatRequest, Message, OfferedFunction, OfferedTool
from .script import ErrorReply
from .tokens import completion_ids, prompt_ids
from .wire_format import WireFormat

_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicMessages(WireFormat):
    """`POST /v1/messages`."""

    path = "/v1/messages"
    demanded_headers = ("anthropic-version",)

    def read(self, raw: bytes) -> ChatRequest:
        return _Request.model_validate_json(raw).as_chat()

    def whole(self, request: ChatRequest, reply: Played) -> JsonObject:
        return _message(request, reply, _content(reply))

    def stream(self, request: ChatRequest, reply: Played) -> Iterator[bytes]:
        content = _content(reply)
        for event in _events(_message(request, reply, content), content):
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def error(self, reply: ErrorReply) -> JsonObject:
        other = "invalid_request_error" if reply.status < 500 else "api_error"
        kind = _ERRORS.get(reply.status, other)
        request_id = f"req_{uuid.uuid4().hex[:24]}"
        error: JsonObject = {"type": kind, "message": reply.message}
        return {"type": "error", "error": error, "request_id": request_id}

    def api_key(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-api-key") or super().api_key(headers)


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Block(_Lenient):
    type: str = "text"
    text: str = ""
    name: str = ""
    input: JsonObject = Field(default_factory=dict)
    content: "str | list[_Block] | None" = None


class _Said(_Lenient):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Tool(_Lenient):
    name: str
    input_schema: JsonObject | None = None
    """None: a tool of the server's own."""


class _Request(_Lenient):
    model: str
    max_tokens: int = Field(ge=1)
    messages: list[_Said] = Field(min_length=1)
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    stream: bool = False

    def as_chat(self) -> ChatRequest:
        """Messages of one role in a row are one, as Anthropic takes them."""
        messages = [Message(role="system", content=_text(self.system))] if self.system else []
        for role, said in groupby(self.messages, lambda message: message.role):
            blocks = [block for message in said for block in _blocks(message.content)]
            messages += [_answer(blocks)] if role == "assistant" else _given(role, blocks)
        tools = [
            OfferedTool(function=OfferedFunction(name=tool.name, parameters=tool.input_schema))
            for tool in self.tools or ()
            if tool.input_schema is not None
        ]
        return ChatRequest(
            model=self.model, messages=messages, tools=tools or None, stream=self.stream
        )


def _answer(blocks: list[_Block]) -> Message:
    calls = [
        CalledTool(function=CalledFunction(name=block.name, arguments=json.dumps(block.input)))
        for block in blocks
        if block.type == "tool_use"
    ]
    return Message(role="assistant", content=_text(blocks), tool_calls=calls or None)


def _given(role: str, blocks: list[_Block]) -> list[Message]:
    """Tools' results first, each a message of its own as in chat completions."""
    results = [block for block in blocks if block.type == "tool_result"]
    others = [block for block in blocks if block.type == "text"]
    messages = [Message(role="tool", content=_text(block.content)) for block in results]
    return [*messages, Message(role=role, content=_text(others))] if others else messages


def _blocks(content: str | list[_Block] | None) -> list[_Block]:
    if isinstance(content, str):
        return [_Block(text=content)]
    return content or []


def _text(content: str | list[_Block] | None) -> str:
    return "\n".join(block.text for block in _blocks(content) if block.type == "text")


def _content(reply: Played) -> list[JsonObject]:
    blocks: list[JsonObject] = [{"type": "text", "text": reply.text}] if reply.text else []
    return blocks + [_tool_use(call) for call in reply.calls]


def _tool_use(call: Call) -> JsonObject:
    return {
        "type": "tool_use",
        "id": f"toolu_{uuid.uuid4().hex[:24]}",
        "name": call.name,
        "input": json.loads(call.arguments),
    }


def _message(request: ChatRequest, reply: Played, content: list[JsonObject]) -> JsonObject:
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [*content],
        "stop_reason": "tool_use" if reply.calls else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": len(prompt_ids(request)),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": len(completion_ids(reply)),
        },
    }


def _events(message: JsonObject, content: list[JsonObject]) -> Iterator[JsonObject]:
    begun: JsonObject = {**message, "content": [], "stop_reason": None}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, block in enumerate(content):
        empty: JsonObject = {"text": "", "input": {}}
        start = {key: empty.get(key, value) for key, value in block.items()}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended: JsonObject = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": message["usage"]}
    yield {"type": "message_stop"}


def _deltas(block: JsonObject) -> list[JsonObject]:
    if block["type"] == "tool_use":
        return [
            {"type": "input_json_delta", "partial_json": piece}
            for piece in ("", json.dumps(block["input"]))
        ]
    lines = str(block["text"]).splitlines(keepends=True)
    return [{"type": "text_delta", "text": line} for line in lines]
