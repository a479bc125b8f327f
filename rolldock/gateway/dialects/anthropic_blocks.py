"""Anthropic's system prompt and messages as chat messages.

Reasoning is left out: what comes back is the mark of its turn, by which `recall.py` puts it in
from the log. What the chat format has no place for is refused by name.
"""

from dataclasses import dataclass, field
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base import SentBack, wrong
from rolldock.models.base import JsonObject

INVALID_JSON: Final = "INVALID_JSON"
"""The key under which a tool's input holds what the model wrote, where that is no JSON object; the
name is Anthropic's. The only key, unless some of it had been delivered live."""

_BILLING: Final = "x-anthropic-billing-header:"
"""How Claude Code begins a block that is no prompt; it changes with every request."""


_REMINDER: Final = ("<system-reminder>\n", "\n</system-reminder>")


@dataclass(slots=True)
class ChatMessages:
    """A conversation in chat form, as it is put together."""

    messages: list[JsonValue] = field(default_factory=list[JsonValue])
    sent_back: list[SentBack] = field(default_factory=list[SentBack])
    n_thinking: int = 0
    """Characters of the reasoning that was sent back."""

    def add_system(self, value: JsonValue, where: str) -> None:
        """Take up a system prompt: text, or blocks of text."""
        texts = [_text(block, at) for at, block in _blocks(value, where)]
        text = "\n".join(text for text in texts if not text.startswith(_BILLING))
        if text:
            self.messages.append({"role": "system", "content": text})

    def add(self, message: JsonValue, where: str) -> None:
        """Take up a message.

        Raises:
            RefusedError: it holds what cannot be translated.
        """
        fields = as_object(message, where)
        role, content = fields.get("role"), fields.get("content")
        if role == "user":
            self._add_user(content, f"{where}.content")
        elif role == "assistant":
            self._add_assistant(content, f"{where}.content")
        elif role == "system":
            self._add_reminder(content, f"{where}.content")
        else:
            raise wrong(f"{where}.role", f"must be user, assistant or system, not {role!r}")

    def _add_user(self, content: JsonValue, where: str) -> None:
        """Tool results come first, as in chat they must follow their calls at once."""
        parts: list[JsonObject] = []
        results: list[JsonValue] = []
        for at, block in _blocks(content, where):
            if block.get("type") == "tool_result":
                result, images = _tool_result(block, at)
                results.append(result)
                parts.extend(images)
            else:
                parts.append(_part(block, at))
        self.messages.extend(results)
        if parts or not results:
            self._add_parts(parts)

    def _add_reminder(self, content: JsonValue, where: str) -> None:
        """A later system message is the user's text, marked as Claude Code marks such: many chat
        templates take a system message only as the first."""
        text = "\n".join(_text(block, at) for at, block in _blocks(content, where))
        self._add_parts([{"type": "text", "text": f"{_REMINDER[0]}{text}{_REMINDER[1]}"}])

    def _add_parts(self, parts: list[JsonObject]) -> None:
        """Users' messages in a row are one, as they are for Anthropic: templates alternate."""
        last = self.messages[-1] if self.messages else None
        if isinstance(last, dict) and last["role"] == "user":
            self.messages.pop()
            parts = [*_parts_of(last["content"]), *parts]
        self.messages.append({"role": "user", "content": _joined(parts)})

    def _add_assistant(self, content: JsonValue, where: str) -> None:
        """Reasoning begins a message of its own, as it begins a turn."""
        turn = _AssistantTurn()
        for at, block in _blocks(content, where):
            kind = block.get("type")
            if kind in ("thinking", "redacted_thinking"):
                if not turn.empty:
                    self._close(turn)
                    turn = _AssistantTurn()
                key = "signature" if kind == "thinking" else "data"
                turn.mark = (_string(block.get(key) or "", f"{at}.{key}"), f"{at}.{key}")
                thinking = block.get("thinking")
                self.n_thinking += len(thinking) if isinstance(thinking, str) else 0
            elif kind == "tool_use":
                turn.calls.append(_tool_call(block, at))
            else:
                turn.texts.append(_text(block, at))
        self._close(turn)

    def _close(self, turn: "_AssistantTurn") -> None:
        if turn.mark is not None:
            mark, where = turn.mark
            self.sent_back.append(SentBack(len(self.messages), mark, where))
        text = "".join(turn.texts)
        message: JsonObject = {"role": "assistant", "content": text}
        if turn.calls:
            message |= {"content": text or None, "tool_calls": turn.calls}
        self.messages.append(message)


@dataclass(slots=True)
class _AssistantTurn:
    texts: list[str] = field(default_factory=list[str])
    calls: list[JsonValue] = field(default_factory=list[JsonValue])
    mark: tuple[str, str] | None = None
    """Of its reasoning, and where that stands."""

    @property
    def empty(self) -> bool:
        return not (self.texts or self.calls or self.mark)


def as_object(value: JsonValue, where: str) -> JsonObject:
    """A value that must be an object.

    Raises:
        RefusedError: it is none.
    """
    if not isinstance(value, dict):
        raise wrong(where, "must be an object")
    return value


def _string(value: JsonValue, where: str) -> str:
    if not isinstance(value, str):
        raise wrong(where, "must be a string")
    return value


def _blocks(content: JsonValue, where: str) -> list[tuple[str, JsonObject]]:
    """Content blocks, each with where it stands; text alone is one block."""
    if content is None:
        return []
    if isinstance(content, str):
        return [(where, {"type": "text", "text": content})]
    if not isinstance(content, list):
        raise wrong(where, "must be a string or a list of content blocks")
    places = [f"{where}[{number}]" for number in range(len(content))]
    return [(at, as_object(block, at)) for at, block in zip(places, content, strict=True)]


def _text(block: JsonObject, where: str) -> str:
    if block.get("type") != "text":
        raise _untranslatable(block, where)
    return _string(block.get("text"), f"{where}.text")


def _untranslatable(block: JsonObject, where: str) -> Exception:
    kind = block.get("type")
    return wrong(where, f"a block of type {kind!r} cannot be translated to chat completions")


def _part(block: JsonObject, where: str) -> JsonObject:
    """A part of a chat message: text or an image."""
    if block.get("type") != "image":
        return {"type": "text", "text": _text(block, where)}
    source = as_object(block.get("source"), f"{where}.source")
    if source.get("type") == "url":
        url = _string(source.get("url"), f"{where}.source.url")
    elif source.get("type") == "base64":
        kind = _string(source.get("media_type"), f"{where}.source.media_type")
        url = f"data:{kind};base64,{_string(source.get('data'), f'{where}.source.data')}"
    else:
        raise _untranslatable(source, f"{where}.source")
    return {"type": "image_url", "image_url": {"url": url}}


def _parts_of(content: JsonValue) -> list[JsonObject]:
    """The inverse of `_joined`."""
    if isinstance(content, list):
        return [part for part in content if isinstance(part, dict)]
    return [{"type": "text", "text": content}] if content else []


def _joined(parts: list[JsonObject]) -> JsonValue:
    """One string where there is only text: not every chat template reads parts."""
    if any(part["type"] != "text" for part in parts):
        return [*parts]
    return "\n".join(str(part["text"]) for part in parts)


def _tool_result(block: JsonObject, where: str) -> tuple[JsonObject, list[JsonObject]]:
    """A tool's message, and its images for the user's: a tool's holds only text."""
    call = _string(block.get("tool_use_id"), f"{where}.tool_use_id")
    if block.get("toolset_name") is not None:
        raise wrong(f"{where}.toolset_name", "hosted toolsets cannot be translated")
    texts: list[str] = []
    images: list[JsonObject] = []
    for at, inner in _blocks(block.get("content"), f"{where}.content"):
        part = _part(inner, at)
        if part["type"] == "text":
            texts.append(str(part["text"]))
        else:
            texts.append("[image: see below]")
            images.extend([{"type": "text", "text": f"Image of tool result {call}:"}, part])
    text = "\n".join(texts)
    if block.get("is_error") is True:
        text = f"Error: {text}"
    return {"role": "tool", "tool_call_id": call, "content": text}, images


def _tool_call(block: JsonObject, where: str) -> JsonObject:
    caller = block.get("caller")
    if isinstance(caller, dict) and caller.get("type") != "direct":
        raise wrong(f"{where}.caller", "calls made by hosted tools cannot be translated")
    given = as_object(block.get("input"), f"{where}.input")
    unparsed = given.get(INVALID_JSON)
    arguments = unparsed if isinstance(unparsed, str) else orjson.dumps(given).decode()
    name = _string(block.get("name"), f"{where}.name")
    return {
        "id": _string(block.get("id"), f"{where}.id"),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
