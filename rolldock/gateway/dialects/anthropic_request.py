"""The fields of an Anthropic request beside its conversation, as those of a chat completion.

A field that would change what the model is asked for and has no counterpart is refused by name.
"""

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.dialects.anthropic_blocks import as_object
from rolldock.gateway.dialects.base import wrong
from rolldock.models.base import JsonObject

_SAME: Final = ("model", "temperature", "top_p", "top_k")

_ELSEWHERE: Final = frozenset({"messages", "system", "stream"})

_OF_NO_EFFECT: Final = frozenset(
    # For the vendor's accounts, caches and machines.
    {"metadata", "service_tier", "inference_geo", "speed", "cache_control", "diagnostics"}
    | {"user_profile_id", "workspace_id"}
    # Whether the model thinks is the endpoint's: its template has no budget for it.
    | {"thinking"}
)

_TOOL_FIELDS: Final = frozenset(
    {"type", "name", "description", "input_schema", "strict", "cache_control"}
    | {"eager_input_streaming"}
)

_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def chat_fields(body: JsonObject) -> JsonObject:
    """All of a chat completion's body but `messages` and `stream`.

    Raises:
        RefusedError: a field cannot be translated; the text names it.
    """
    chat: JsonObject = {key: body[key] for key in _SAME if body.get(key) is not None}
    for key, value in body.items():
        if key in _SAME or key in _ELSEWHERE or key in _OF_NO_EFFECT or not _says(value):
            continue
        translate = _TRANSLATORS.get(key)
        if translate is None:
            raise wrong(key, "cannot be translated to chat completions: leave it out")
        chat |= translate(value)
    return chat


def _says(value: JsonValue) -> bool:
    """Whether a field asks for anything."""
    return value is not None and value != [] and value != {} and value is not False


def _max_tokens(value: JsonValue) -> JsonObject:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise wrong("max_tokens", "must be a number above 0")
    return {"max_tokens": value}


def _stop(value: JsonValue) -> JsonObject:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong("stop_sequences", "must be a list of strings")
    return {"stop": value}


def _tools(value: JsonValue) -> JsonObject:
    if not isinstance(value, list):
        raise wrong("tools", "must be a list")
    return {"tools": [_tool(tool, f"tools[{number}]") for number, tool in enumerate(value)]}


def _tool(value: JsonValue, where: str) -> JsonObject:
    tool = as_object(value, where)
    name, kind = tool.get("name"), tool.get("type")
    if kind not in (None, "custom"):
        raise wrong(where, f"the hosted tool {kind!r} ({name}) cannot be translated")
    if not isinstance(name, str):
        raise wrong(f"{where}.name", "must be a string")
    schema = as_object(tool.get("input_schema"), f"{where}.input_schema")
    for key, asked in tool.items():
        if key not in _TOOL_FIELDS and _says(asked) and asked != ["direct"]:
            raise wrong(f"{where}.{key}", f"cannot be translated (tool {name})")
    function: JsonObject = {"name": name}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    function["parameters"] = schema
    if tool.get("strict") is True:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(value: JsonValue) -> JsonObject:
    choice = as_object(value, "tool_choice")
    kind = choice.get("type")
    chat: JsonObject = {}
    if kind in ("auto", "none"):
        chat["tool_choice"] = kind
    elif kind == "any":
        chat["tool_choice"] = "required"
    elif kind == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    else:
        raise wrong("tool_choice.type", f"{kind!r} cannot be translated")
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False
    return chat


def _output_config(value: JsonValue) -> JsonObject:
    config = as_object(value, "output_config")
    chat: JsonObject = {}
    for key, asked in config.items():
        if key == "effort" and isinstance(asked, str) and asked in _EFFORTS:
            chat["reasoning_effort"] = _EFFORTS[asked]
        elif key == "format" and asked is not None:
            chat |= _output_format(asked)
        elif asked is not None:
            raise wrong(f"output_config.{key}", "cannot be translated")
    return chat


def _output_format(value: JsonValue) -> JsonObject:
    asked = as_object(value, "output_config.format")
    if asked.get("type") != "json_schema":
        raise wrong("output_config.format.type", f"{asked.get('type')!r} cannot be translated")
    schema: JsonObject = {"name": "output", "schema": asked.get("schema"), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _context_management(value: JsonValue) -> JsonObject:
    """Edits of what the model sees; those of old reasoning are its template's business."""
    edits = as_object(value, "context_management").get("edits")
    for number, edit in enumerate(edits if isinstance(edits, list) else []):
        where = f"context_management.edits[{number}]"
        kind = as_object(edit, where).get("type")
        if not (isinstance(kind, str) and kind.startswith("clear_thinking_")):
            raise wrong(where, f"{kind!r} cannot be translated")
    return {}


_TRANSLATORS: Final[Mapping[str, Callable[[JsonValue], JsonObject]]] = {
    "max_tokens": _max_tokens,
    "stop_sequences": _stop,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "output_config": _output_config,
    "output_format": _output_format,
    "context_management": _context_management,
}
