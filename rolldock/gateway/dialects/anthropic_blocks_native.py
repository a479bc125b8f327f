"""Anthropic's messages in chat form as well as it goes, for those that are passed through.

What an assistant said is read in the same way when it comes and when it is sent back, so that the
two are known as one. Blocks that chat has no place for stay as they are, as parts of the content.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base_native import bare
from rolldock.models.base import JsonObject

_THINKING: Final = frozenset({"thinking", "redacted_thinking"})
_OF_CACHES: Final = ("cache_control",)


def chat_messages(body: JsonObject) -> list[JsonValue]:
    """System prompt and messages of a request."""
    found: list[JsonValue] = []
    if system := _content(_blocks(body.get("system"))):
        found.append({"role": "system", "content": system})
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            found.extend(_in_chat(message))
    return found


def assistant_message(content: JsonValue) -> JsonObject:
    """An assistant's content blocks as one message, without its reasoning."""
    said: list[JsonObject] = []
    calls: list[JsonValue] = []
    for block in _blocks(content):
        if block.get("type") == "tool_use":
            calls.append(_tool_call(block))
        elif block.get("type") not in _THINKING:
            said.append(block)
    message: JsonObject = {"role": "assistant", "content": _content(said)}
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": calls}
    return message


def thinking_of(content: JsonValue) -> str:
    """The reasoning in an assistant's content blocks."""
    texts = [block.get("thinking") for block in _blocks(content)]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def chat_tools(body: JsonObject) -> JsonObject:
    """The tools of a request: functions in chat form, hosted ones as they are."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not tools:
        return {}
    return {"tools": [_tool(tool) for tool in tools]}


def _in_chat(message: JsonObject) -> Iterator[JsonObject]:
    """A message; a user's tool results stand before it, as messages of their own."""
    if message.get("role") == "assistant":
        yield assistant_message(message.get("content"))
        return
    blocks = _blocks(message.get("content"))
    results = [block for block in blocks if block.get("type") == "tool_result"]
    for block in results:
        text = _content(_blocks(block.get("content")))
        yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}
    others = [block for block in blocks if block.get("type") != "tool_result"]
    if others or not results:
        yield {"role": message.get("role"), "content": _content(others)}


def _content(blocks: Iterable[JsonObject]) -> JsonValue:
    """Text alone as one string."""
    parts: list[JsonValue] = []
    texts: list[str] = []
    for block in blocks:
        text = block.get("text")
        if block.get("type") == "text" and isinstance(text, str):
            texts.append(text)
            parts.append({"type": "text", "text": text})
        else:
            parts.append(bare(block, _OF_CACHES))
    return "".join(texts) if len(texts) == len(parts) else parts


def _blocks(content: JsonValue) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    given = content if isinstance(content, list) else []
    return [block for block in given if isinstance(block, dict)]


def _tool_call(block: JsonObject) -> JsonObject:
    given = block.get("input")
    arguments = given if isinstance(given, str) else orjson.dumps(given).decode()
    function: JsonObject = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _tool(tool: JsonValue) -> JsonValue:
    if not isinstance(tool, dict) or tool.get("type") not in (None, "custom"):
        return tool
    function: JsonObject = {"name": tool.get("name"), "parameters": tool.get("input_schema")}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    return {"type": "function", "function": function}
