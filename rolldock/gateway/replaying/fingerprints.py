"""Digests of a request by which it is found again in a recording.

The request is the agent's own body. What is volatile is declared in `volatile.py`; which recorded
turn answers which request is decided in `matching.py`.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.gateway.replaying.volatile import (
    CALL_ID_FIELDS,
    IGNORED_FIELDS,
    ITEMS_WITH_ID,
    without_volatile,
)
from rolldock.models.base import JsonObject

CONVERSATION_KEYS: Final = ("messages", "input")
FRAME_KEYS: Final = ("system", "instructions", "tools")
"""Where formats keep the system prompt and the tools."""

_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_CALL_ID: Final = "<call id>"


@dataclass(frozen=True, slots=True)
class _Digests:
    """One value, compared in three ways."""

    exact: bytes
    by_form: bytes
    """With placeholders for what is volatile by its form."""
    in_place: bytes
    """With placeholders for all that is volatile."""


@dataclass(frozen=True, slots=True)
class Fingerprint(_Digests):
    """One request, compared as a whole and in parts."""

    frame: bytes
    """Of its tools and its system prompt, with placeholders by form."""
    parts: frozenset[bytes]
    """Its fields and the items of its conversation, each to the letter."""


class Fingerprints:
    """Makes fingerprints. Remembers the items of conversations: each request repeats those of the
    one before it."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Digests] = {}

    def of(self, body: JsonObject, *, stream_counts: bool) -> Fingerprint:
        """The fingerprint of a request's body.

        Args:
            stream_counts: whether it matters if the answer is a stream: it was kept as it came.
        """
        kept = canonical(body)
        if stream_counts:
            kept["stream"] = body.get("stream") is True
        parts: list[_Digests] = []
        frame: list[bytes] = []
        exact: list[bytes] = []
        for key in sorted(kept):
            found = self._field(key, kept[key])
            parts.append(_joined([_named(key), *found]))
            exact += (one.exact for one in found)
            if key in FRAME_KEYS:
                frame += (key.encode(), found[0].by_form)
            elif key in CONVERSATION_KEYS:
                frame += (one.by_form for one in found[: _n_leading(kept[key])])
        whole = _joined(parts)
        return Fingerprint(
            whole.exact, whole.by_form, whole.in_place, _hashed(*frame), frozenset(exact)
        )

    def _field(self, key: str, value: JsonValue) -> list[_Digests]:
        if key in CONVERSATION_KEYS and isinstance(value, list):
            return [self._value(item) for item in value]
        return [self._value(value)]

    def _value(self, value: JsonValue) -> _Digests:
        exact = _hashed(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
        known = self._known.get(exact)
        if known is None:
            known = _Digests(
                exact,
                *(
                    _hashed(orjson.dumps(normal(value, in_place=loose), option=_SORTED))
                    for loose in (False, True)
                ),
            )
            self._known[exact] = known
        return known


_SORTED: Final = orjson.OPT_SORT_KEYS


def canonical(body: JsonObject) -> JsonObject:
    """A body without what says nothing of the answer."""
    return {
        key: value for key, value in body.items() if key not in IGNORED_FIELDS and key != "stream"
    }


def normal(value: JsonValue, *, in_place: bool) -> JsonValue:
    """A value with placeholders for what is volatile in its texts and ids."""
    if isinstance(value, str):
        return without_volatile(value, in_place=in_place)
    if isinstance(value, list):
        return [normal(item, in_place=in_place) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    # In a JSON Schema a property may have that name.
    has_id = isinstance(kind, str) and kind in ITEMS_WITH_ID
    ids = CALL_ID_FIELDS | {"id"} if has_id else CALL_ID_FIELDS
    return {
        key: _CALL_ID if key in ids and isinstance(item, str) else normal(item, in_place=in_place)
        for key, item in value.items()
    }


def _n_leading(conversation: JsonValue) -> int:
    """How many items at the head of a conversation are its system prompt."""
    items = conversation if isinstance(conversation, list) else []
    for number, item in enumerate(items):
        if not (isinstance(item, dict) and item.get("role") in _SYSTEM_ROLES):
            return number
    return len(items)


def _named(key: str) -> _Digests:
    name = _hashed(key.encode())
    return _Digests(name, name, name)


def _joined(parts: list[_Digests]) -> _Digests:
    return _Digests(
        _hashed(*(part.exact for part in parts)),
        _hashed(*(part.by_form for part in parts)),
        _hashed(*(part.in_place for part in parts)),
    )


def _hashed(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
