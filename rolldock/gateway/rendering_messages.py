"""Between chat form and what renderers take and give: messages, tools, parsed completions.

Refuses what tokens cannot express, by its name in the agent's request; renders nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from pydantic import JsonValue

from rolldock.errors import UsageError
from rolldock.gateway.dialects.chat_form import reasoning_text, text_of
from rolldock.models.base import JsonObject

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_REASONING: Final = "reasoning_content"
_MEND: Final = "leave it out, or use an endpoint of mode chat"
_WELL_FORMED: Final = "ok"

RenderedMessage: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MessageStyle:
    """What a model's format wants of messages beyond what chat form says."""

    developer: bool = False
    """It has the role `developer`; elsewhere such messages are the system's."""
    tool_names: bool = False
    """It writes the function's name into what a tool answers; agents seldom repeat it."""


class ParsedCall(Protocol):
    """One thing that a completion has in the place of a tool call, well formed or not."""

    raw: str
    name: str | None
    arguments: dict[str, Any] | str | None
    status: str
    id: str | None


class ParsedCompletion(Protocol):
    """A completion as a renderer reads it."""

    content: str
    reasoning_content: str | None

    @property
    def tool_calls(self) -> Sequence[ParsedCall]:
        """Every attempt, in the model's order."""
        ...


def to_render(messages: Sequence[JsonValue], style: MessageStyle) -> list[RenderedMessage]:
    """Messages in chat form as renderers take them.

    Raises:
        UsageError: a message has what tokens cannot express; the text names it.
    """
    names = _tool_names(messages) if style.tool_names else {}
    return [
        _message(message, f"messages[{number}]", style, names)
        for number, message in enumerate(messages)
        if isinstance(message, dict)
    ]


def tools_of(chat: JsonObject) -> list[JsonObject] | None:
    """The tools of a request, as renderers take them.

    Raises:
        UsageError: one of them is no function.
    """
    given = chat.get("tools")
    tools = [tool for tool in given if isinstance(tool, dict)] if isinstance(given, list) else []
    for number, tool in enumerate(tools):
        if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
            raise UsageError(f"tools[{number}]: only functions can be rendered: {_MEND}")
    return tools or None


def check_request(chat: JsonObject) -> None:
    """Refuse the options of a request that only a server with a template of its own can honour.

    Raises:
        UsageError: one of them is asked for; the text names it.
    """
    if chat.get("tool_choice") not in (None, "auto", "none"):
        raise UsageError(f"tool_choice: a call cannot be forced in mode tokens: {_MEND}")
    form = chat.get("response_format")
    if form is not None and not (isinstance(form, dict) and form.get("type") == "text"):
        raise UsageError(f"response_format: only text can be had in mode tokens: {_MEND}")
    for name in ("chat_template_kwargs", "logit_bias", "functions", "function_call"):
        if chat.get(name):
            raise UsageError(f"{name}: not known in mode tokens: {_MEND}")


def from_completion(parsed: ParsedCompletion, chat: JsonObject) -> JsonObject:
    """The assistant message in chat form.

    What the model wrote as a call that cannot be read, or must not be one, stays in its text, so
    that agent and trace see what the model said.
    """
    wanted = chat.get("tool_choice") != "none"
    calls: list[JsonValue] = []
    texts = [parsed.content]
    for call in parsed.tool_calls:
        alone = chat.get("parallel_tool_calls") is False and calls
        if wanted and not alone and call.name and str(call.status) == _WELL_FORMED:
            calls.append(_call(call, call.name))
        else:
            texts.append(call.raw)
    content = _before_stop("\n".join(text for text in texts if text), chat.get("stop"))
    message: JsonObject = {"role": "assistant", "content": content or None if calls else content}
    if parsed.reasoning_content:
        message[_REASONING] = parsed.reasoning_content
    if calls:
        message["tool_calls"] = calls
    return message


def stop_strings(chat: JsonObject) -> list[str]:
    """The texts at which a request wants the model to stop."""
    stop = chat.get("stop")
    found = stop if isinstance(stop, list) else [stop]
    return [text for text in found if isinstance(text, str) and text]


def _message(
    message: JsonObject, where: str, style: MessageStyle, names: dict[str, str]
) -> RenderedMessage:
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise UsageError(f"{where}.role: {role!r} cannot be rendered: {_MEND}")
    content = message.get("content")
    for number, part in enumerate(content if isinstance(content, list) else []):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise UsageError(f"{where}.content[{number}]: a part of type {kind!r}: {_MEND}")
    if role == "developer" and not style.developer:
        role = "system"
    rendered: RenderedMessage = {"role": role, "content": text_of(content)}
    name = message.get("name") or names.get(str(message.get("tool_call_id")))
    if isinstance(name, str):
        rendered["name"] = name
    if role == "assistant":
        rendered |= _spoken(message)
    if role == "tool" and isinstance(call := message.get("tool_call_id"), str):
        rendered["tool_call_id"] = call
    return rendered


def _spoken(message: JsonObject) -> RenderedMessage:
    """What only the model's own messages have."""
    found: RenderedMessage = {}
    if reasoning := reasoning_text(message):
        found[_REASONING] = reasoning
    if calls := message.get("tool_calls"):
        found["tool_calls"] = calls
    return found


def _tool_names(messages: Sequence[JsonValue]) -> dict[str, str]:
    """The function of each call of a conversation, by the call's id."""
    names: dict[str, str] = {}
    for message in messages:
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call in calls if isinstance(calls, list) else []:
            function = call.get("function") if isinstance(call, dict) else None
            call_id = call.get("id") if isinstance(call, dict) else None
            name = function.get("name") if isinstance(function, dict) else None
            if isinstance(call_id, str) and isinstance(name, str):
                names[call_id] = name
    return names


def _call(call: ParsedCall, name: str) -> JsonObject:
    arguments = call.arguments
    if not isinstance(arguments, str):
        value = {} if arguments is None else arguments
        # As renderers write them again, should the history have to be rendered.
        arguments = json.dumps(value, ensure_ascii=False)
        if _encodable(arguments) != arguments:
            arguments = json.dumps(value)
    function: JsonObject = {"name": _encodable(name), "arguments": _encodable(arguments)}
    return {"id": _encodable(call.id or ""), "type": "function", "function": function}


def _encodable(text: str) -> str:
    """A text without half pairs, which a model can escape in JSON and UTF-8 does not have."""
    return text.encode(errors="replace").decode()


def _before_stop(text: str, stop: JsonValue) -> str:
    """A text up to the first of some stop strings, which are no part of what was said."""
    ends = [text.find(end) for end in stop_strings({"stop": stop})]
    return text[: min([end for end in ends if end >= 0], default=len(text))]
