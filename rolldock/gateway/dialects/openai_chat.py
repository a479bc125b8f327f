"""OpenAI chat completions as agents speak them. Streams are in `openai_chat_stream.py`."""

from collections.abc import Mapping
from typing import Final

import orjson

from rolldock.gateway.dialects.base import (
    AgentRequest,
    Dialect,
    LiveStream,
    agent_request,
    asked_model,
    fresh_id,
    wrong,
)
from rolldock.gateway.dialects.openai_chat_stream import ChatLiveStream, whole_as_events
from rolldock.gateway.engine_tokens import (
    COMPLETION_IDS,
    PROMPT_IDS,
    first_choice,
    whole_logprobs,
)
from rolldock.gateway.sse import event
from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn

RESPONSE_ID: Final = "chatcmpl-"


class OpenAIChat(Dialect):
    """`POST /v1/chat/completions`."""

    name = "openai.chat"
    paths = ("/v1/chat/completions", "/chat/completions")
    chat_errors = True

    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise wrong("messages", "must be a list with at least one message")
        if not all(isinstance(message, dict) for message in messages):
            raise wrong("messages", "every message must be an object")
        if body.get("n") not in (None, 1):
            raise wrong("n", "only one choice per call is recorded; ask for 1")
        return agent_request(raw, body, headers, messages=messages, chat=body)

    def render(self, turn: Turn, attempt: str) -> bytes:
        whole = _whole(turn, attempt)
        if not turn.streamed:
            return orjson.dumps(whole)
        return whole_as_events(whole, with_usage=wants_usage(turn.request.fields))

    def live(self, request: AgentRequest, attempt: str, slot: int) -> LiveStream:
        return ChatLiveStream(
            response_id=fresh_id(RESPONSE_ID, attempt, slot),
            own=lambda message: self.own_message(message, request, attempt, slot),
            model=asked_model(request.body),
            with_usage=wants_usage(request.body),
            with_logprobs=request.body.get("logprobs") is True,
        )

    def models(self, model: str) -> JsonObject:
        entry: JsonObject = {"id": model, "object": "model", "created": 0, "owned_by": "rolldock"}
        return {"object": "list", "data": [entry]}

    def error(self, message: str, kind: str, code: str, status: int) -> JsonObject:
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def error_event(self, error: bytes) -> bytes:
        return event(error)


def wants_usage(fields: JsonObject) -> bool:
    """Whether a request asks for a usage chunk at the end of its stream."""
    options = fields.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _whole(turn: Turn, attempt: str) -> JsonObject:
    """The completion as the agent gets it: its model's name, a fresh id, no ids of tokens."""
    # A reply in another format has nothing that this one could pass on.
    reply = turn.reply.fields if turn.upstream == OpenAIChat.name else JsonObject()
    choice = {key: value for key, value in first_choice(reply).items() if key != COMPLETION_IDS}
    choice |= {"index": 0, "message": turn.message, "finish_reason": turn.finish_reason}
    asked = turn.request.fields.get("logprobs") is True
    choice["logprobs"] = whole_logprobs(choice, turn.tokens) if asked else None
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
        "model": asked_model(turn.request.fields),
        "choices": [choice],
        "usage": reply.get("usage") or usage,
    }
