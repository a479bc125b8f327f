"""OpenAI Responses as agents speak them: translated to chat completions and back.

A request is read by `openai_responses_input.py`, `_tools.py` and `_options.py`, a turn is written
by `_output.py` and `_events.py`, or as it comes by `_live.py`. Nothing is stored for the agent: it
sends the whole conversation with every call.
"""

from collections.abc import Mapping

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base import (
    AgentRequest,
    Dialect,
    LiveStream,
    NativeConversation,
    agent_request,
    asked_model,
)
from rolldock.gateway.dialects.openai_responses_events import error_as_events, response_as_events
from rolldock.gateway.dialects.openai_responses_input import to_messages
from rolldock.gateway.dialects.openai_responses_live import ResponsesLiveStream
from rolldock.gateway.dialects.openai_responses_options import chat_options
from rolldock.gateway.dialects.openai_responses_output import NAMESPACE, response_of
from rolldock.gateway.dialects.openai_responses_tools import namespaces
from rolldock.models.base import JsonObject
from rolldock.models.turn import Turn


class OpenAIResponses(Dialect):
    """`POST /v1/responses`."""

    name = "openai.responses"
    paths = ("/v1/responses", "/responses")

    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        chat = chat_options(body)
        translated = to_messages(body.get("instructions"), body.get("input"))
        given = body.get("input")
        return agent_request(
            raw,
            body,
            headers,
            messages=translated.messages,
            chat={"model": asked_model(body), "messages": None, **chat},
            native=NativeConversation(
                "input",
                tuple(given) if isinstance(given, list) else (),
                ("instructions", "tools"),
            ),
            sent_back=translated.sent_back,
        )

    def own_message(
        self, message: JsonObject, request: AgentRequest, attempt: str, slot: int
    ) -> JsonObject:
        own = super().own_message(message, request, attempt, slot)
        declared, calls = namespaces(request.body), own.get("tool_calls")
        if not declared or not isinstance(calls, list):
            return own
        return {**own, "tool_calls": [_in_namespace(call, declared) for call in calls]}

    def render(self, turn: Turn, attempt: str) -> bytes:
        response = response_of(turn, attempt)
        return response_as_events(response) if turn.streamed else orjson.dumps(response)

    def live(self, request: AgentRequest, attempt: str, slot: int) -> LiveStream:
        def own(message: JsonObject) -> JsonObject:
            return self.own_message(message, request, attempt, slot)

        return ResponsesLiveStream(own, request.body, attempt, slot)

    def models(self, model: str) -> JsonObject:
        entry: JsonObject = {"id": model, "object": "model", "created": 0, "owned_by": "rolldock"}
        return {"object": "list", "data": [entry]}

    def error(self, message: str, kind: str, code: str, status: int) -> JsonObject:
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def error_event(self, error: bytes) -> bytes:
        return error_as_events(error)


def _in_namespace(call: JsonValue, declared: Mapping[str, str]) -> JsonValue:
    """A tool call that remembers which namespace its function was declared in."""
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(call, dict) or not isinstance(name, str) or name not in declared:
        return call
    return {**call, NAMESPACE: declared[name]}
