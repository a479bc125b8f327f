"""The entries of `logprobs.content` as columns, without what a turn's tokens say already.

An entry is a token's text, log-prob, bytes and alternatives, at some servers also its id. Most of
it follows from the others or is the same in all of them. What would not come back to the byte stays
as it is. Where the entries come from, and which of them are believed, is not known here.
"""

from collections.abc import Sequence
from typing import Final, cast

import orjson
from pydantic import JsonValue

from rolldock.models.base import JsonObject

_EACH: Final = "each"
"""A column as the list of its values."""
_ALL: Final = "all"
"""A column as the one value that all entries have."""
_BUT: Final = "but"
"""A column as what differs from what it is expected to be, by the entry's number."""


def fold(content: JsonValue, ids: Sequence[int], logprobs: Sequence[float]) -> JsonValue:
    """The entries as an object of columns; a list that this cannot give back is returned as it is.

    `ids` and `logprobs` are those of the completion, and are stored beside it.
    """
    entries = _entries(content)
    if not entries or len(entries) != len(logprobs):
        return content
    keys = list(entries[0])
    if any(list(entry) != keys for entry in entries):
        return content
    columns = {key: [entry[key] for entry in entries] for key in keys}
    expected = _expected(columns.get("token"), ids, logprobs)
    return {key: _column(values, expected.get(key)) for key, values in columns.items()}


def unfold(content: JsonValue, ids: Sequence[int], logprobs: Sequence[float]) -> JsonValue:
    """The inverse of `fold`; entries that were not folded are returned as they are."""
    if not isinstance(content, dict):
        return content
    tokens = _values(content["token"], None, len(logprobs)) if "token" in content else None
    expected = _expected(tokens, ids, logprobs)
    columns = [_values(column, expected.get(key), len(logprobs)) for key, column in content.items()]
    return [dict(zip(content, row, strict=True)) for row in zip(*columns, strict=True)]


def _entries(content: JsonValue) -> list[JsonObject]:
    if not isinstance(content, list):
        return []
    entries = [entry for entry in content if isinstance(entry, dict) and entry]
    return entries if len(entries) == len(content) else []


def _expected(
    tokens: list[JsonValue] | None, ids: Sequence[int], logprobs: Sequence[float]
) -> dict[str, list[JsonValue]]:
    """What the columns hold that follow from others."""
    found: dict[str, list[JsonValue]] = {"logprob": list(logprobs)}
    if len(ids) == len(logprobs):
        found["id"] = found["token_id"] = list(ids)
    if tokens is not None:
        found["bytes"] = [
            list(token.encode()) if isinstance(token, str) else None for token in tokens
        ]
    return found


def _column(values: list[JsonValue], expected: list[JsonValue] | None) -> JsonObject:
    if values.count(values[0]) == len(values) and _same(values, [values[0]] * len(values)):
        return {_ALL: values[0]}
    if expected is not None:
        pairs = zip(values, expected, strict=True)
        other = {number: value for number, (value, wanted) in enumerate(pairs) if value != wanted}
        mended = [other.get(number, wanted) for number, wanted in enumerate(expected)]
        if 2 * len(other) < len(values) and _same(values, mended):
            return {_BUT: {str(number): value for number, value in other.items()}}
    return {_EACH: values}


def _same(values: list[JsonValue], others: list[JsonValue]) -> bool:
    """Whether two lists are the same JSON: to Python, 1 equals True and 0.0 equals -0.0."""
    return orjson.dumps(values) == orjson.dumps(others)


def _values(column: JsonValue, expected: list[JsonValue] | None, n_entries: int) -> list[JsonValue]:
    forms = cast(JsonObject, column)
    if _EACH in forms:
        return cast(list[JsonValue], forms[_EACH])
    if _ALL in forms:
        return [forms[_ALL]] * n_entries
    values = list(expected or ())
    for number, value in cast(JsonObject, forms[_BUT]).items():
        values[int(number)] = value
    return values
