"""OpenAI's Responses: requests as chat completions, replies as output items and their events.

It keeps no response, so that a request which continues one by its id is refused, and it does not
reason. Offers of tools other than functions are passed over. Shapes are those of
developers.openai.com/api/reference (Responses, Streaming events).
"""

import json
import time
import uuid
from collections.abc import Iterator
from itertools import groupby

from pydantic import BaseModel, ConfigDict, Field

from rolldock.models.base import JsonObject

from .play import Call, Played
from .request import CalledFunction, CalledTool, ChatRequest, Message, OfferedFunction, OfferedTool
from .script import ErrorReply
from .tokens import completion_ids, prompt_ids
from .wire_format import UnreadableError, WireFormat


class OpenAIResponses(WireFormat):
    """`POST /v1/responses`."""

    path = "/v1/responses"

    def read(self, raw: bytes) -> ChatRequest:
        asked = _Request.model_validate_json(raw)
        if asked.previous_response_id is not None:
            message = f"Previous response with id {asked.previous_response_id!r} not found."
            code = "previous_response_not_found"
            raise UnreadableError(ErrorReply(status=400, message=message, code=code))
        return asked.as_chat()

    def whole(self, request: ChatRequest, reply: Played) -> JsonObject:
        return _response(request, reply, _output(reply))

    def stream(self, request: ChatRequest, reply: Played) -> Iterator[bytes]:
        output = _output(reply)
        for number, event in enumerate(_events(_response(request, reply, output), output)):
            written = json.dumps({**event, "sequence_number": number})
            yield f"event: {event['type']}\ndata: {written}\n\n".encode()


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Part(_Lenient):
    text: str = ""


class _Item(_Lenient):
    type: str = "message"
    role: str = "user"
    content: str | list[_Part] | None = None
    name: str = ""
    arguments: str = ""
    output: str | list[_Part] | None = None

    @property
    def is_by_model(self) -> bool:
        is_said = self.type == "message" and self.role == "assistant"
        return is_said or self.type.endswith("_call") or self.type == "reasoning"


class _Tool(_Lenient):
    type: str
    name: str = ""
    parameters: JsonObject | None = None


class _Request(_Lenient):
    model: str
    input: str | list[_Item] = Field(min_length=1)
    instructions: str | None = None
    tools: list[_Tool] | None = None
    stream: bool | None = False
    previous_response_id: str | None = None

    def as_chat(self) -> ChatRequest:
        """Items that the model wrote in a row are one message: that of one reply."""
        items = [_Item(content=self.input)] if isinstance(self.input, str) else self.input
        messages = [Message(role="system", content=self.instructions)] if self.instructions else []
        for by_model, group in groupby(items, lambda item: item.is_by_model):
            run = list(group)
            messages += [_answer(run)] if by_model else [_given(item) for item in run]
        tools = [
            OfferedTool(function=OfferedFunction(name=tool.name, parameters=tool.parameters or {}))
            for tool in self.tools or ()
            if tool.type == "function"
        ]
        return ChatRequest(
            model=self.model, messages=messages, tools=tools or None, stream=self.stream
        )


def _answer(items: list[_Item]) -> Message:
    texts = [_text(item.content) for item in items if item.type == "message"]
    calls = [
        CalledTool(function=CalledFunction(name=item.name, arguments=item.arguments))
        for item in items
        if item.type == "function_call"
    ]
    return Message(role="assistant", content="\n".join(texts), tool_calls=calls or None)


def _given(item: _Item) -> Message:
    if item.type.endswith("_output"):
        return Message(role="tool", content=_text(item.output))
    return Message(role=item.role, content=_text(item.content))


def _text(content: str | list[_Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)


def _output(reply: Played) -> list[JsonObject]:
    items = [] if reply.text is None else [_said(reply.text)]
    return items + [_call(call) for call in reply.calls]


def _said(text: str) -> JsonObject:
    part: JsonObject = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _call(call: Call) -> JsonObject:
    return {
        "id": f"fc_{uuid.uuid4().hex}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{uuid.uuid4().hex[:24]}",
        "name": call.name,
        "arguments": call.arguments,
    }


def _response(request: ChatRequest, reply: Played, output: list[JsonObject]) -> JsonObject:
    n_input, n_output = len(prompt_ids(request)), len(completion_ids(reply))
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [*output],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "tool_choice": "auto",
        "tools": [
            {"type": "function", "strict": False, **tool.function.model_dump()}
            for tool in request.tools or ()
        ],
        "usage": {
            "input_tokens": n_input,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": n_output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": n_input + n_output,
        },
    }


def _events(response: JsonObject, output: list[JsonObject]) -> Iterator[JsonObject]:
    begun: JsonObject = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(output):
        empty: JsonObject = {"status": "in_progress", "content": [], "arguments": ""}
        start = {key: empty.get(key, value) for key, value in item.items()}
        yield {"type": "response.output_item.added", "output_index": index, "item": start}
        inside: JsonObject = {"output_index": index, "item_id": item["id"]}
        yield from _call_events(item, inside) if "arguments" in item else _text_events(item, inside)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": response}


def _call_events(item: JsonObject, inside: JsonObject) -> Iterator[JsonObject]:
    arguments, kind = item["arguments"], "response.function_call_arguments"
    yield {"type": f"{kind}.delta", **inside, "delta": arguments}
    yield {"type": f"{kind}.done", **inside, "name": item["name"], "arguments": arguments}


def _text_events(item: JsonObject, inside: JsonObject) -> Iterator[JsonObject]:
    parts = item["content"]
    for index, part in enumerate(parts if isinstance(parts, list) else []):
        if not isinstance(part, dict):
            continue
        at: JsonObject = {**inside, "content_index": index}
        yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
        for line in str(part["text"]).splitlines(keepends=True):
            kind = "response.output_text.delta"
            yield {"type": kind, **at, "delta": line, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}
