"""Where two requests differ, once what is volatile is left out, as a person is told it. Pure."""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from rolldock.gateway.replaying.fingerprints import (
    CONVERSATION_KEYS,
    FRAME_KEYS,
    canonical,
    normal,
)
from rolldock.models.base import JsonObject

_DIFF_CHARACTERS: Final = 4000
_LINE_CHARACTERS: Final = 400
"""Longer lines are cut around the difference."""
_BEFORE: Final = 80
_AFTER: Final = 240
"""Characters around the difference."""
_LINES: Final = 300
"""More are not compared: finding what lines two long texts share takes time."""
_CONTEXT_LINES: Final = 2


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which two requests differ; volatile parts are shown as placeholders."""

    field: str
    recorded: str | None
    asked: str | None
    diff: str


_Place = tuple[str, JsonValue, JsonValue]


def first_difference(recorded: JsonObject, asked: JsonObject) -> Difference | None:
    """The first difference that is not volatile; None: there is none.

    Tools and system prompt are looked at first: a difference there explains those that follow.
    """
    for in_place in (True, False):
        ours, theirs = canonical(asked), canonical(recorded)
        for key in _ordered({*ours, *theirs}):
            place = next(_differing(key, *_both(theirs, ours, key, in_place)), None)
            if place is not None:
                return _described(*place)
    return None


def _ordered(keys: set[str]) -> list[str]:
    """System prompt and tools, then the rest, then the conversation."""
    ranks = {**dict.fromkeys(FRAME_KEYS, 0), **dict.fromkeys(CONVERSATION_KEYS, 2)}
    return sorted(keys, key=lambda key: (ranks.get(key, 1), key))


def _both(
    recorded: JsonObject, asked: JsonObject, key: str, in_place: bool
) -> tuple[JsonValue, JsonValue]:
    return (
        normal(recorded.get(key), in_place=in_place),
        normal(asked.get(key), in_place=in_place),
    )


def _differing(path: str, recorded: JsonValue, asked: JsonValue) -> Iterator[_Place]:
    """The places at which two values differ, in order."""
    if recorded == asked:
        return
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in (*asked, *(key for key in recorded if key not in asked)):
            yield from _differing(f"{path}.{key}", recorded.get(key), asked.get(key))
    elif isinstance(recorded, list) and isinstance(asked, list):
        for number in range(max(len(recorded), len(asked))):
            ours = asked[number] if number < len(asked) else None
            theirs = recorded[number] if number < len(recorded) else None
            yield from _differing(f"{path}[{number}]", theirs, ours)
    else:
        yield path, recorded, asked


def _described(field: str, recorded: JsonValue, asked: JsonValue) -> Difference:
    theirs, ours = _text(recorded), _text(asked)
    at = _first_unlike(theirs or "", ours or "")
    return Difference(
        field=field,
        recorded=None if theirs is None else _cut(theirs, at),
        asked=None if ours is None else _cut(ours, at),
        diff=_unified(theirs or "", ours or "")[:_DIFF_CHARACTERS],
    )


def _text(value: JsonValue) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=1)


def _first_unlike(one: str, other: str) -> int:
    for number, (ours, theirs) in enumerate(zip(one, other, strict=False)):
        if ours != theirs:
            return number
    return min(len(one), len(other))


def _cut(text: str, at: int) -> str:
    start, end = max(0, at - _BEFORE), at + _AFTER
    before, after = "…" if start else "", "…" if end < len(text) else ""
    return f"{before}{text[start:end]}{after}"


def _unified(recorded: str, asked: str) -> str:
    theirs, ours = recorded.splitlines(), asked.splitlines()
    n_same = _n_same(theirs, ours)
    start = max(0, n_same - _CONTEXT_LINES)
    theirs, ours = theirs[start : start + _LINES], ours[start : start + _LINES]
    lines = difflib.unified_diff(theirs, ours, "recorded", "asked", lineterm="", n=_CONTEXT_LINES)
    at = _first_unlike(
        theirs[n_same - start] if n_same - start < len(theirs) else "",
        ours[n_same - start] if n_same - start < len(ours) else "",
    )
    return "\n".join(_cut_line(line, at) for line in lines)


def _cut_line(line: str, at: int) -> str:
    return line if len(line) <= _LINE_CHARACTERS else line[0] + _cut(line[1:], at)


def _n_same(one: Sequence[str], other: Sequence[str]) -> int:
    for number, (ours, theirs) in enumerate(zip(one, other, strict=False)):
        if ours != theirs:
            return number
    return min(len(one), len(other))
