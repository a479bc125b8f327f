"""Messages in chat form as blocks of text, reasoning, tool calls and results.

Whatever a message holds has a block: what has no kind of its own is shown as JSON.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from rolldock.gateway.dialects.chat_form import REASONING_KEYS, reasoning_text
from rolldock.models.base import JsonObject

_KNOWN_KEYS: Final = frozenset({"role", "content", "tool_calls", "tool_call_id", "refusal", "name"})
_SHORT_CHARACTERS: Final = 60
_MAX_DATA_CHARACTERS: Final = 2_000
"""An image or a file as base64 is named by its size, not shown."""


@dataclass(frozen=True)
class Argument:
    """One argument of a tool call."""

    name: str
    value: str

    @property
    def is_short(self) -> bool:
        """Whether it fits beside its name."""
        return len(self.value) <= _SHORT_CHARACTERS and "\n" not in self.value


@dataclass(frozen=True)
class Call:
    """A tool call as the model wrote it."""

    id: str | None
    name: str
    arguments: tuple[Argument, ...]
    """By name; one without a name where they are no JSON object."""


@dataclass(frozen=True)
class Said:
    """One message."""

    role: str
    name: str | None
    text: str
    reasoning: str
    refusal: str
    calls: tuple[Call, ...]
    answers: str | None
    """The id of the tool call whose result this is."""
    other: str
    """What it has beside these, as JSON; empty where it has nothing."""


def read_message(message: JsonValue) -> Said:
    """A message of a request or a reply, whatever it is."""
    if not isinstance(message, dict):
        return Said("?", None, _json(message), "", "", (), None, "")
    answers = message.get("tool_call_id")
    name = message.get("name")
    calls = message.get("tool_calls")
    return Said(
        role=str(message.get("role") or "?"),
        name=name if isinstance(name, str) else None,
        text=_content(message.get("content")),
        reasoning=reasoning_text(message),
        refusal=_content(message.get("refusal")),
        calls=tuple(_call(call) for call in calls) if isinstance(calls, list) else (),
        answers=answers if isinstance(answers, str) else None,
        other=_other(message),
    )


def pretty(value: JsonValue) -> str:
    """JSON with one field a line, integers of any length as they are."""
    return to_json(value, indent=2).decode()


def _content(content: JsonValue) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return _json(content)


def _part(part: JsonValue) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return _json(part)
    text = part.get("text")
    if isinstance(text, str):
        return text
    written = _json(part)
    if len(written) > _MAX_DATA_CHARACTERS:
        return f"[{part.get('type', 'part')}, {len(written):,} characters of JSON]"
    return written


def _call(call: JsonValue) -> Call:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        custom = call.get("custom") if isinstance(call, dict) else None
        if isinstance(call, dict) and isinstance(custom, dict):
            given = Argument("", _content(custom.get("input")))
            return Call(_text(call.get("id")), str(custom.get("name", "?")), (given,))
        return Call(None, "?", (Argument("", _json(call)),))
    arguments = tuple(_arguments(function.get("arguments")))
    return Call(_text(call.get("id")), str(function.get("name", "?")), arguments)


def _arguments(written: JsonValue) -> Iterator[Argument]:
    if not isinstance(written, str):
        if written is not None:
            yield Argument("", pretty(written))
        return
    try:
        read: JsonValue = from_json(written, allow_inf_nan=False)
    except ValueError:
        # A model's arguments need not be JSON, nor end nesting: they are shown as they came.
        yield Argument("", written)
        return
    if not isinstance(read, dict):
        yield Argument("", written)
        return
    for name, value in read.items():
        yield Argument(name, value if isinstance(value, str) else pretty(value))


def _other(message: JsonObject) -> str:
    """Fields without a kind of their own, but not those that say nothing."""
    left: JsonObject = {
        key: value
        for key, value in message.items()
        if key not in _KNOWN_KEYS and value not in (None, "", [], {})
    }
    shown = reasoning_text(message)
    for key in REASONING_KEYS:
        if isinstance(left.get(key), str) and left[key] == shown:
            del left[key]
    return pretty(left) if left else ""


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _json(value: JsonValue) -> str:
    return to_json(value).decode()
