"""Anthropic Messages for a model server that speaks them: passed through.

Answers are read in `anthropic_stream_native.py`, the conversation in `anthropic_blocks_native.py`.
"""

from collections.abc import Iterable
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.completions import Completion
from rolldock.gateway.dialects.anthropic_blocks_native import chat_messages, chat_tools
from rolldock.gateway.dialects.anthropic_messages import AnthropicMessages
from rolldock.gateway.dialects.anthropic_stream_native import MessageStream, read_message
from rolldock.gateway.dialects.base_native import NativeDialect, NativeStream
from rolldock.models.base import JsonObject

_ANTHROPICS_KEY: Final = "sk-ant-"
_ANTHROPICS_OAUTH: Final = "sk-ant-oat"

_LEAST_THINKING_TOKENS: Final = 1024
"""Anthropic refuses a smaller budget, and one that is not below `max_tokens`."""

_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_FILE: Final = 1600
"""The most that Anthropic counts for an image; of a document nothing is known."""


class AnthropicNative(NativeDialect, AnthropicMessages):
    """`POST {base}/messages`."""

    name = "anthropic.messages.native"
    format = AnthropicMessages.name
    call_path = "/messages"
    conversation_key = "messages"
    blob_keys = ("system", "tools")
    limit_key = "max_tokens"
    sampling_keys = (
        *("max_tokens", "temperature", "top_p", "top_k", "stop_sequences"),
        *("thinking", "output_config"),
    )
    passed_headers = ("anthropic-version", "anthropic-beta")

    def chat_messages(self, body: JsonObject) -> list[JsonValue]:
        return chat_messages(body)

    def chat_tools(self, body: JsonObject) -> JsonObject:
        return chat_tools(body)

    def key_headers(self, api_key: str) -> dict[str, str]:
        """Anthropic takes a key in a header of its own and refuses it in the other; servers that
        only speak its format (vLLM, Ollama) read the one, the other, or both."""
        bearer = {"Authorization": f"Bearer {api_key}"}
        if api_key.startswith(_ANTHROPICS_OAUTH):
            return bearer
        own = {"x-api-key": api_key}
        return own if api_key.startswith(_ANTHROPICS_KEY) else {**own, **bearer}

    def read(self, body: JsonObject) -> Completion:
        return read_message(body)

    def stream_reader(self) -> NativeStream:
        return MessageStream()

    def limited(self, body: JsonObject, limits: Iterable[int | None]) -> JsonObject:
        """Thinking gets less where the limit does, and none where there is no room for it."""
        changed = super().limited(body, limits)
        limit, thinking = changed.get(self.limit_key), body.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if not isinstance(limit, int) or not isinstance(thinking, dict):
            return changed
        if not isinstance(budget, int) or budget < limit:
            return changed
        if limit <= _LEAST_THINKING_TOKENS:
            return {**changed, "thinking": {"type": "disabled"}}
        return {**changed, "thinking": {**thinking, "budget_tokens": limit - 1}}

    def count(self, body: JsonObject) -> JsonObject:
        """An estimate; unlike a translated request's, of whatever is in it."""
        n_bytes, n_files = _size([body.get("system"), body.get("messages"), body.get("tools")])
        return {"input_tokens": -(-n_bytes // _BYTES_PER_TOKEN) + n_files * _TOKENS_PER_FILE}


def _size(value: JsonValue) -> tuple[int, int]:
    """The bytes of a value's JSON without the files in it, and how many those are."""
    if isinstance(value, dict):
        if value.get("type") == "base64":
            return 0, 1
        inner = [_size(item) for item in value.values()]
        n_own = sum(len(key) + 4 for key in value)
    elif isinstance(value, list):
        inner = [_size(item) for item in value]
        n_own = len(value)
    else:
        return len(orjson.dumps(value)), 0
    return n_own + sum(n for n, _ in inner), sum(n for _, n in inner)
