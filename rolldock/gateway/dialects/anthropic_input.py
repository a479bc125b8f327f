"""A tool's input on its way to an agent that reads Anthropic's streams.

What has been passed on cannot be taken back, and clients fail on what is no JSON. So arguments pass
only as far as they are the beginning of a JSON object that can still be closed: up to a whole
property, or within a property's string. Nested values wait until they are whole.
"""

import re
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.gateway.dialects.anthropic_blocks import INVALID_JSON

_WHOLE_ESCAPE: Final = re.compile(
    r"\\[^u]"
    r"|\\u(?![dD][89abAB])[0-9a-fA-F]{4}"
    # Half a surrogate pair is no text: the other half must follow.
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}"
)
_ESCAPE_CHARACTERS: Final = 12
"""Of the longest: a surrogate pair."""

_IN_STRING: Final = '{"":"'
_AFTER_PROPERTY: Final = '{"":0'
"""What stands for the part that has been passed on, when the next is checked."""


def read_input(arguments: str) -> dict[str, JsonValue] | None:
    """The object that a call's arguments are; None: they are none."""
    try:
        value = cast(JsonValue, orjson.loads(arguments.strip() or "{}"))
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


class LiveInput:
    """The arguments of one call."""

    def __init__(self) -> None:
        self._passed: list[str] = []
        self._held = ""
        self._before = ""
        self._broken = False
        self._depth = 0
        self._in_string = False
        self._in_value = False
        self._escape = ""
        self._comma = 0
        """Where in the held text the last whole property ends."""

    def add(self, arguments: str) -> str:
        """What may be passed on once these are here too; may be nothing."""
        for at, character in enumerate(arguments, len(self._held)):
            self._read(character, at)
        self._held += arguments
        inside = self._in_string and self._in_value and self._depth == 1
        cut = len(self._held) - len(self._escape) if inside else self._comma
        if self._broken or not cut:
            return ""
        passed = self._held[:cut]
        if not _is_json(self._before + passed + _goes_on(inside) + '"":0}'):
            self._broken = True
            return ""
        self._passed.append(passed)
        self._held, self._comma = self._held[cut:], 0
        self._before = _IN_STRING if inside else _AFTER_PROPERTY
        return passed

    def rest(self) -> str:
        """What is left to pass on, so that the whole is an object.

        Arguments that are none get a last property that no tool has; it holds them as they are.
        """
        whole = "".join([*self._passed, self._held])
        if read_input(whole) is not None:
            return self._held if whole.strip() else ""
        written = orjson.dumps({INVALID_JSON: whole}).decode()
        if not self._passed:
            return written
        return _goes_on(self._before == _IN_STRING) + written[1:]

    def _read(self, character: str, at: int) -> None:
        if self._in_string:
            self._read_string(character)
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
        elif character in ":," and self._depth == 1:
            self._in_value = character == ":"
            if character == ",":
                self._comma = at

    def _read_string(self, character: str) -> None:
        if self._escape:
            self._escape += character
            if _WHOLE_ESCAPE.fullmatch(self._escape):
                self._escape = ""
            elif len(self._escape) >= _ESCAPE_CHARACTERS:
                self._broken, self._escape = True, ""
        elif character == "\\":
            self._escape = character
        elif character == '"':
            self._in_string = False


def _goes_on(in_string: bool) -> str:
    """What leads to the next property."""
    return '",' if in_string else ","


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
