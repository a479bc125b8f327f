"""Responses items in chat form as well as it goes, for those that are passed through.

What the model wrote is read in the same way when it comes and when it is sent back, so that the two
are known as one. Items that chat has no place for stay as they are, as parts of the content.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.dialects.base_native import bare
from rolldock.models.base import JsonObject

_TEXT_PARTS: Final = frozenset({"input_text", "output_text", "text"})
_OF_STORAGE: Final = ("id", "status")
"""Agents that let the server store nothing leave these out of what they send back."""


def chat_messages(body: JsonObject) -> list[JsonValue]:
    """Instructions and input of a request."""
    found: list[JsonValue] = []
    instructions, given = body.get("instructions"), body.get("input")
    if isinstance(instructions, str):
        found.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        found.append({"role": "user", "content": given})
    items = given if isinstance(given, list) else []
    objects = [item for item in items if isinstance(item, dict)]
    for by_model, group in groupby(objects, _is_by_model):
        if by_model:
            found.append(assistant_message(group))
        else:
            found.extend(_by_agent(item) for item in group)
    return found


def assistant_message(items: Iterable[JsonObject]) -> JsonObject:
    """What the model wrote in one answer as one message, without its reasoning."""
    parts: list[JsonValue] = []
    calls: list[JsonValue] = []
    for item in items:
        match item.get("type", "message"):
            case "message":
                parts.extend(_parts(item.get("content")))
            case "function_call":
                function: JsonObject = {key: item.get(key) for key in ("name", "arguments")}
                calls.append({"id": item.get("call_id"), "type": "function", "function": function})
            case "custom_tool_call":
                custom: JsonObject = {key: item.get(key) for key in ("name", "input")}
                calls.append({"id": item.get("call_id"), "type": "custom", "custom": custom})
            case "reasoning":
                pass
            case _:
                parts.append(bare(item, _OF_STORAGE))
    message: JsonObject = {"role": "assistant", "content": _joined(parts)}
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": calls}
    return message


def reasoning_of(items: Iterable[JsonObject]) -> str:
    """The reasoning, or its summary, among items."""
    texts: list[str] = []
    for item in items:
        if item.get("type") == "reasoning":
            for key in ("content", "summary"):
                found = [part.get("text") for part in _objects(item.get(key))]
                texts.extend(text for text in found if isinstance(text, str))
                if found:
                    break
    return "\n".join(texts)


def chat_tools(body: JsonObject) -> JsonObject:
    """The tools of a request: functions in chat form, others as they are."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not tools:
        return {}
    return {"tools": [_tool(tool) for tool in tools]}


def _is_by_model(item: JsonObject) -> bool:
    kind = item.get("type", "message")
    if kind == "message":
        return item.get("role") == "assistant"
    of_agent = kind in ("item_reference", "mcp_approval_response", "compaction_trigger")
    return not (of_agent or _is_output(item))


def _is_output(item: JsonObject) -> bool:
    """Whether an item is what the agent's tool has given; all such types end alike."""
    return str(item.get("type")).endswith("_output")


def _by_agent(item: JsonObject) -> JsonObject:
    if item.get("type", "message") == "message":
        return {"role": item.get("role"), "content": _joined(_parts(item.get("content")))}
    if _is_output(item):
        content = _joined(_parts(item.get("output")))
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": content}
    return {"role": "user", "content": [item]}


def _parts(content: JsonValue) -> list[JsonValue]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, dict):
        return [content]
    return [_part(part) for part in _objects(content)]


def _part(part: JsonObject) -> JsonObject:
    kind = part.get("type")
    if isinstance(kind, str) and kind in _TEXT_PARTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and part.get("image_url") is not None:
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    return bare(part, ())


def _joined(parts: list[JsonValue]) -> JsonValue:
    """Text alone as one string."""
    texts = [part.get("text") for part in _objects(parts) if part.get("type") == "text"]
    strings = [text for text in texts if isinstance(text, str)]
    return "".join(strings) if len(strings) == len(parts) else parts


def _objects(value: JsonValue) -> list[JsonObject]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def _tool(tool: JsonValue) -> JsonValue:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    function: JsonObject = bare(tool, ("type",))
    return {"type": "function", "function": function}
