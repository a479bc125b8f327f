"""The `input` of a Responses request as chat messages.

What chat completions cannot say is refused by name. Reasoning is not restored here: the items that
carry our mark are only pointed at.
"""

from dataclasses import dataclass
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.base import SentBack, wrong
from rolldock.gateway.dialects.openai_responses_tools import flat_name
from rolldock.models.base import JsonObject

_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_TEXT_PARTS: Final = frozenset({"input_text", "output_text", "text"})
_DETAILS: Final = frozenset({"auto", "low", "high"})

_REASONING, _TEXT, _CALLS = range(3)
"""The order in which one turn's items stand."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A conversation in chat form."""

    messages: tuple[JsonValue, ...]
    sent_back: tuple[SentBack, ...]


def to_messages(instructions: JsonValue, given: JsonValue) -> Translated:
    """Instructions and input as chat messages.

    Instructions and the system and developer messages at the beginning become one system message;
    later ones become user messages, because chat templates take a system prompt only at the start.

    Raises:
        RefusedError: an item cannot be translated; the text names it.
    """
    reader = _Reader()
    if instructions is not None:
        if not isinstance(instructions, str):
            raise wrong("instructions", "must be a string")
        reader.add_system(instructions)
    if isinstance(given, str):
        reader.add({"role": "user", "content": given})
    elif isinstance(given, list) and given:
        for number, item in enumerate(given):
            reader.read(item, f"input[{number}]")
    else:
        raise wrong("input", "must be a string or a list with at least one item")
    return reader.translated()


class _Reader:
    """Takes items one by one; those of one turn become one assistant message."""

    def __init__(self) -> None:
        self._system: list[str] = []
        self._messages: list[JsonValue] = []
        self._sent_back: list[SentBack] = []
        self._open: JsonObject | None = None
        """The assistant message that the last item belonged to."""
        self._reached = _REASONING
        self._images: list[JsonValue] = []

    def translated(self) -> Translated:
        """All that was read."""
        self._show_images()
        system: JsonObject = {"role": "system", "content": "\n\n".join(self._system)}
        first: list[JsonValue] = [system] if self._system else []
        moved = [
            SentBack(back.message + len(first), back.mark, back.where) for back in self._sent_back
        ]
        return Translated((*first, *self._messages), tuple(moved))

    def add(self, message: JsonObject) -> None:
        """A message of the user's."""
        self._show_images()
        self._open = None
        self._messages.append(message)

    def add_system(self, text: str) -> None:
        """A text of the system prompt, or of its later additions."""
        if self._messages:
            self.add({"role": "user", "content": text})
        else:
            self._system.append(text)

    def read(self, item: JsonValue, where: str) -> None:
        """One item of `input`."""
        if not isinstance(item, dict):
            raise wrong(where, "every item must be an object")
        kind = item.get("type", "message" if "role" in item else None)
        match kind:
            case "message":
                self._read_message(item, where)
            case "function_call":
                self._read_call(item, where)
            case "function_call_output":
                self._read_output(item, where)
            case "reasoning":
                self._read_reasoning(item, where)
            case "item_reference":
                raise wrong(where, "no items are stored here: send the item itself")
            case _:
                raise wrong(
                    where,
                    f"an item of type {_shown(kind)} cannot be translated to chat completions",
                )

    def _read_message(self, item: JsonObject, where: str) -> None:
        role, content = item.get("role"), item.get("content")
        if role == "assistant":
            self._read_assistant(content, where)
        elif role == "user":
            self.add({"role": "user", "content": _content(content, f"{where}.content")})
        elif isinstance(role, str) and role in _SYSTEM_ROLES:
            text = _content(content, f"{where}.content")
            if not isinstance(text, str):
                raise wrong(f"{where}.content", f"a {role} message can only have text")
            self.add_system(text)
        else:
            raise wrong(f"{where}.role", f"{_shown(role)} is no role")

    def _read_assistant(self, content: JsonValue, where: str) -> None:
        message = self._assistant(_TEXT)
        if isinstance(content, str):
            message["content"] = _longer(message["content"], content)
            return
        texts: list[str] = []
        for number, part in enumerate(_parts(content, f"{where}.content")):
            at = f"{where}.content[{number}]"
            if part.get("type") == "refusal":
                message["refusal"] = _text(part, "refusal", at)
            elif part.get("type") in _TEXT_PARTS:
                texts.append(_text(part, "text", at))
            else:
                raise wrong(at, f"{_shown(part.get('type'))} is no content of an assistant")
        if texts:
            message["content"] = _longer(message["content"], "".join(texts))

    def _read_call(self, item: JsonObject, where: str) -> None:
        call: JsonObject = {
            "id": _text(item, "call_id", where),
            "type": "function",
            "function": {
                "name": flat_name(item.get("namespace"), _text(item, "name", where)),
                "arguments": _text(item, "arguments", where),
            },
        }
        message = self._assistant(_CALLS)
        calls = message.setdefault("tool_calls", [])
        if isinstance(calls, list):
            calls.append(call)

    def _read_output(self, item: JsonObject, where: str) -> None:
        """A tool's message; its images wait for a user's: a tool's holds only text."""
        call = _text(item, "call_id", where)
        content = _content(item.get("output"), f"{where}.output")
        texts: list[str] = []
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and part["type"] == "image_url":
                texts.append("[image: see below]")
                self._images.append({"type": "text", "text": f"Image of tool result {call}:"})
                self._images.append(part)
            elif isinstance(part, dict):
                texts.append(str(part["text"]))
        text = content if isinstance(content, str) else "\n".join(texts)
        self._open = None
        self._messages.append({"role": "tool", "tool_call_id": call, "content": text})

    def _show_images(self) -> None:
        """After the last of several tool results that stand together."""
        if self._images:
            self._messages.append({"role": "user", "content": self._images})
            self._images = []

    def _read_reasoning(self, item: JsonObject, where: str) -> None:
        mark = item.get("encrypted_content")
        if not isinstance(mark, str) or not mark:
            message = "reasoning without encrypted_content cannot be restored: send it unchanged"
            raise wrong(where, message)
        self._assistant(_REASONING)
        at = f"{where}.encrypted_content"
        self._sent_back.append(SentBack(len(self._messages) - 1, mark, at))

    def _assistant(self, part: int) -> JsonObject:
        """The assistant message for an item: the open one, unless such an item begins a turn.

        Text after a call, with no result between, is what a live reply went on with.
        """
        follows = part > self._reached or (self._reached == _CALLS and part != _REASONING)
        if self._open is None or not follows:
            self._show_images()
            self._open = {"role": "assistant", "content": None}
            self._messages.append(self._open)
        self._reached = part
        return self._open


def _content(content: JsonValue, where: str) -> JsonValue:
    """Text as one string; with images a list of parts."""
    if isinstance(content, str):
        return content
    parts = [
        _part(part, f"{where}[{number}]") for number, part in enumerate(_parts(content, where))
    ]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(str(part["text"]) for part in parts)
    return [*parts]


def _part(part: JsonObject, where: str) -> JsonObject:
    kind = part.get("type")
    if isinstance(kind, str) and kind in _TEXT_PARTS:
        return {"type": "text", "text": _text(part, "text", where)}
    if kind == "input_image":
        if part.get("image_url") is None:
            raise wrong(where, "no files are stored here: send the image as image_url")
        image: JsonObject = {"url": _text(part, "image_url", where)}
        if part.get("detail") in _DETAILS:
            image["detail"] = part["detail"]
        return {"type": "image_url", "image_url": image}
    raise wrong(where, f"content of type {_shown(kind)} cannot be translated to chat completions")


def _parts(content: JsonValue, where: str) -> list[JsonObject]:
    if not isinstance(content, list):
        raise wrong(where, "must be a string or a list")
    parts = [part for part in content if isinstance(part, dict)]
    if len(parts) != len(content):
        raise wrong(where, "every part must be an object")
    return parts


def _text(item: JsonObject, key: str, where: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise wrong(f"{where}.{key}", "must be a string")
    return value


def _longer(before: JsonValue, added: str) -> str:
    return f"{before}{added}" if isinstance(before, str) else added


def _shown(value: JsonValue) -> str:
    return orjson.dumps(value).decode()[:80]
