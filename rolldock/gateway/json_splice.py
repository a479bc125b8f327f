"""Fields of a JSON object set in its bytes; every other byte stays as it was written.

Only the outermost object's fields are known here, and none is ever taken out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from rolldock.models.base import JsonObject

_BLANK: Final = " \t\n\r"

# Numbers are stepped over, not read: Python refuses integers of thousands of digits.
_VALUES: Final = json.JSONDecoder(parse_int=str, parse_float=str)


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a field of an object stands: the offsets of its parts."""

    key: str
    key_start: int
    key_end: int
    value_start: int
    value_end: int


def with_fields(raw: bytes, fields: JsonObject) -> bytes:
    """The bytes of a JSON object with these fields: set where they stand, else put at its end.

    What is put in is spaced as the object's own first fields are.
    """
    if not fields:
        return raw
    text = raw.decode()
    members = list(_members(text))
    colon = text[members[0].key_end : members[0].value_start] if members else ":"
    comma = text[members[0].value_end : members[1].key_start] if len(members) > 1 else ","
    spaced = (", " if comma != "," else ",", ": " if colon != ":" else ":")
    written = {
        key: json.dumps(value, ensure_ascii=False, separators=spaced)
        for key, value in fields.items()
    }
    pieces: list[str] = []
    at = 0
    for member in members:
        if member.key in written:
            pieces += [text[at : member.value_start], written[member.key]]
            at = member.value_end
    end = members[-1].value_end if members else text.index("{") + 1
    pieces.append(text[at:end])
    known = {member.key for member in members}
    added = [f"{json.dumps(key)}{colon}{written[key]}" for key in fields if key not in known]
    pieces.append(comma.join(["", *added] if members else added))
    pieces.append(text[end:])
    return "".join(pieces).encode()


def _members(text: str) -> Iterator[_Member]:
    """The fields of the outermost object of a text that is known to be one."""
    at = _after_blank(text, text.index("{") + 1)
    while text[at] != "}":
        key, key_end = _value(text, at)
        value_start = _after_blank(text, _after_blank(text, key_end) + 1)
        _, value_end = _value(text, value_start)
        yield _Member(str(key), at, key_end, value_start, value_end)
        at = _after_blank(text, value_end)
        if text[at] == ",":
            at = _after_blank(text, at + 1)


def _value(text: str, at: int) -> tuple[object, int]:
    """The value that begins at an offset, and where it ends."""
    return cast(tuple[object, int], _VALUES.raw_decode(text, at))


def _after_blank(text: str, at: int) -> int:
    while text[at] in _BLANK:
        at += 1
    return at
