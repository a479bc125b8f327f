"""The tools of a Responses request as chat completions know them.

Functions only, also those in a namespace, whose name is put before theirs. What runs at OpenAI or
takes free text is refused by name.
"""

from collections.abc import Iterator
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base import wrong
from rolldock.models.base import JsonObject

_SEPARATOR: Final = "__"
_FUNCTION_KEYS: Final = ("name", "description", "parameters")
_CHOICES: Final = frozenset({"auto", "none", "required"})

_MENDS: Final = {
    "web_search": 'it runs at OpenAI; switch it off (Codex: web_search = "disabled")',
    "custom": "chat completions have no freeform tools; declare a function"
    " (Codex: give it a model name that it does not know)",
    "tool_search": "it loads tools later; declare them at once"
    " (Codex: give it a model name that it does not know)",
}
_HOSTED: Final = "it is no function that the agent runs; switch it off"


def flat_name(namespace: JsonValue, name: str) -> str:
    """A function's name in chat completions, which have no namespaces."""
    return f"{namespace}{_SEPARATOR}{name}" if isinstance(namespace, str) and namespace else name


def chat_tools(body: JsonObject) -> list[JsonValue]:
    """The tools of a request in chat form.

    Raises:
        RefusedError: a tool is no function, or two have one name; the text names it.
    """
    tools: list[JsonValue] = []
    names: set[str] = set()
    for where, namespace, tool in _functions(body):
        name = tool.get("name")
        if not isinstance(name, str) or not name:
            raise wrong(f"{where}.name", "must be a string")
        flat = flat_name(namespace, name)
        if flat in names:
            raise wrong(f"{where}.name", f"there are two tools named {flat}")
        names.add(flat)
        function: JsonObject = {
            key: tool[key] for key in _FUNCTION_KEYS if tool.get(key) is not None
        }
        function["name"] = flat
        if tool.get("strict") is True:
            function["strict"] = True
        tools.append({"type": "function", "function": function})
    return tools


def namespaces(body: JsonObject) -> dict[str, str]:
    """The namespace of each function that has one, by its name in chat completions."""
    return {
        flat_name(namespace, str(tool.get("name"))): namespace
        for _, namespace, tool in _functions(body)
        if namespace
    }


def bare_name(namespace: JsonValue, flat: str) -> str:
    """The inverse of `flat_name`."""
    return flat.removeprefix(flat_name(namespace, ""))


def chat_tool_choice(choice: JsonValue) -> JsonValue:
    """A tool choice in chat form.

    Raises:
        RefusedError: it is none that chat completions have.
    """
    if isinstance(choice, str) and choice in _CHOICES:
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    kind = choice.get("type") if isinstance(choice, dict) else choice
    shown = orjson.dumps(kind).decode()[:80]
    raise wrong("tool_choice", f"{shown} cannot be translated to chat completions")


def _functions(body: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    """Every function with its place and its namespace, which may be empty."""
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise wrong("tools", "must be a list")
    for number, tool in enumerate(tools or []):
        where = f"tools[{number}]"
        if isinstance(tool, dict) and tool.get("type") == "namespace":
            name, inner = tool.get("name"), tool.get("tools")
            if not isinstance(name, str) or not name or not isinstance(inner, list):
                raise wrong(where, "a namespace must have a name and a list of tools")
            for position, function in enumerate(inner):
                at = f"{where}.tools[{position}]"
                yield at, name, _function(function, at)
        else:
            yield where, "", _function(tool, where)


def _function(tool: JsonValue, where: str) -> JsonObject:
    if not isinstance(tool, dict):
        raise wrong(where, "every tool must be an object")
    kind = tool.get("type")
    if kind == "function":
        return tool
    shown = orjson.dumps(kind).decode()[:80]
    named = f" named {tool['name']}" if isinstance(tool.get("name"), str) else ""
    mend = _MENDS.get(kind, _HOSTED) if isinstance(kind, str) else _HOSTED
    raise wrong(where, f"a tool of type {shown}{named} cannot be translated: {mend}")
