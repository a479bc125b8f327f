"""JSON bodies: bytes to an object under limits, and back to the very same bytes.

Knows nothing of what a body means.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Collection
from typing import Final, TypeAlias, cast

import orjson
from pydantic import JsonValue

from rolldock.models.base import JsonObject
from rolldock.models.turn import Body, Encoding

MAX_DEPTH: Final = 128
"""Stored turns are read back by a parser that stops at about 200 levels."""

LARGE_BODY_BYTES: Final = 512 * 1024
"""From here on a body is parsed off the event loop."""

_SHORT_BODY_BYTES: Final = 16 * 1024

_ESCAPES: Final = re.compile(
    rb"\\\\"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_LONE_SURROGATE_BYTES: Final = 6

_Container: TypeAlias = dict[str, JsonValue] | list[JsonValue]

CHAT_APART: Final = frozenset({"messages", "tools"})
"""The fields of a chat completion's body that are stored beside it."""


class BodyError(ValueError):
    """Raised when bytes are not a JSON object that we can keep; the text says why."""


async def parse(raw: bytes) -> JsonObject:
    """Parse a body, a large one off the event loop.

    Raises:
        BodyError: it is no JSON object that we can keep.
    """
    if len(raw) < LARGE_BODY_BYTES:
        return parse_object(raw)
    return await asyncio.to_thread(parse_object, raw)


def parse_object(raw: bytes) -> JsonObject:
    """The JSON object that bytes hold; half surrogate pairs become U+FFFD, as UTF-8 has none.

    Raises:
        BodyError: not JSON, NaN or Infinity, not an object, nested too deeply.
    """
    value = _parse(raw)
    if not isinstance(value, dict):
        raise BodyError("the body is not a JSON object")
    # Of a short body it is quicker to count the brackets than to walk the items, of a long one not.
    is_short = len(raw) < _SHORT_BODY_BYTES
    is_flat = is_short and raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH
    if not is_flat and _deeper_than(value, MAX_DEPTH):
        raise BodyError(f"the body is nested deeper than {MAX_DEPTH} levels")
    return value


def _parse(raw: bytes) -> JsonValue:
    try:
        return cast(JsonValue, orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        # JavaScript agents cut strings between the halves of a pair and escape what is left.
        mended = _ESCAPES.sub(_without_lone_surrogate, raw)
        if mended == raw:
            raise BodyError(f"the body is not JSON: {error}") from None
    try:
        return cast(JsonValue, orjson.loads(mended))
    except orjson.JSONDecodeError as error:
        raise BodyError(f"the body is not JSON: {error}") from None


def _without_lone_surrogate(found: re.Match[bytes]) -> bytes:
    text = found.group()
    return b"\\ufffd" if len(text) == _LONE_SURROGATE_BYTES else text


def _deeper_than(value: _Container, limit: int) -> bool:
    level: list[_Container] = [value]
    for _ in range(limit):
        # Every item of a body passes here: a tuple of types is many times faster than a union.
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return False
    return True


def encode(value: JsonValue, encoding: Encoding) -> bytes:
    """A value in one of the known styles.

    Raises:
        ValueError: `Encoding.BLOB` is not a style.
    """
    if encoding is Encoding.COMPACT:
        return orjson.dumps(value)
    if encoding is Encoding.BLOB:
        raise ValueError("a blob is read, not written again")
    ascii_only = encoding in (Encoding.SPACED, Encoding.COMPACT_ASCII)
    spaced = encoding in (Encoding.SPACED, Encoding.SPACED_UTF8)
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()


def encoding_of(value: JsonValue, raw: bytes) -> Encoding:
    """The style in which `value` gives exactly `raw`; `Encoding.BLOB` where none does."""
    for encoding in Encoding:
        if encoding is not Encoding.BLOB and encode(value, encoding) == raw:
            return encoding
    return Encoding.BLOB


def describe(
    value: JsonObject,
    raw: bytes,
    encoding: Encoding | None = None,
    apart: Collection[str] = CHAT_APART,
) -> Body:
    """The stored form of a body: its fields without those kept apart, and how to rebuild it."""
    return Body(
        fields=without(value, apart),
        encoding=encoding or encoding_of(value, raw),
        digest=hashlib.sha256(raw).hexdigest(),
        n_bytes=len(raw),
    )


def without(value: JsonObject, apart: Collection[str]) -> JsonObject:
    """An object with null for the fields that are kept apart, each key in its place."""
    return {key: None if key in apart else item for key, item in value.items()}
