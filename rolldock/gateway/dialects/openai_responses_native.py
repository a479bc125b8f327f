"""OpenAI Responses for a model server that speaks them: passed through.

Answers are read in `openai_responses_stream_native.py`, the conversation in
`openai_responses_items_native.py`. A response that is made in the background is refused: it comes
by another path, which would pass the session by.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.completions import Completion
from rolldock.gateway.dialects.base import AgentRequest, wrong
from rolldock.gateway.dialects.base_native import NativeDialect, NativeStream
from rolldock.gateway.dialects.openai_responses import OpenAIResponses
from rolldock.gateway.dialects.openai_responses_items_native import chat_messages, chat_tools
from rolldock.gateway.dialects.openai_responses_stream_native import ResponseStream, read_response
from rolldock.models.base import JsonObject

_FEWEST_TOKENS: Final = 16


class OpenAIResponsesNative(NativeDialect, OpenAIResponses):
    """`POST {base}/responses`."""

    name = "openai.responses.native"
    format = OpenAIResponses.name
    call_path = "/responses"
    conversation_key = "input"
    blob_keys = ("instructions", "tools")
    limit_key = "max_output_tokens"
    sampling_keys = ("max_output_tokens", "temperature", "top_p", "reasoning")
    passed_headers = ("openai-beta",)

    def parse(self, raw: bytes, body: JsonObject, headers: Mapping[str, str]) -> AgentRequest:
        if body.get("background"):
            raise wrong("background", "every call is answered on its own connection: leave it out")
        return super().parse(raw, body, headers)

    def chat_messages(self, body: JsonObject) -> list[JsonValue]:
        return chat_messages(body)

    def chat_tools(self, body: JsonObject) -> JsonObject:
        return chat_tools(body)

    def continues(self, body: JsonObject) -> str | None:
        earlier = body.get("previous_response_id")
        return earlier if isinstance(earlier, str) else None

    def key_headers(self, api_key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def limited(self, body: JsonObject, limits: Iterable[int | None]) -> JsonObject:
        """OpenAI takes no limit below the fewest: a budget's last call overshoots by less."""
        changed = super().limited(body, limits)
        limit = changed.get(self.limit_key)
        few = isinstance(limit, int) and limit < _FEWEST_TOKENS
        return {self.limit_key: _FEWEST_TOKENS} if few else changed

    def read(self, body: JsonObject) -> Completion:
        return read_response(body)

    def stream_reader(self) -> NativeStream:
        return ResponseStream()
