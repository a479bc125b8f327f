"""Fields set in the bytes of a JSON object."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from rolldock.gateway.json_splice import with_fields
from rolldock.models.base import JsonObject

VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS: st.SearchStrategy[JsonObject] = st.dictionaries(
    st.sampled_from(["model", "temperature", "a", "é", "\\", '"']), VALUES, max_size=5
)
STYLES: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}]
)


@settings(deadline=None)
@given(OBJECTS, OBJECTS, STYLES)
def test_it_says_both(value: JsonObject, fields: JsonObject, style: dict[str, object]) -> None:
    """The result says what the object said with the fields set, in the object's order."""
    raw = json.dumps(value, **style).encode()  # pyright: ignore[reportArgumentType]
    spliced = json.loads(with_fields(raw, fields))
    assert list(spliced.items()) == list((value | fields).items())


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"a","n":1e5,"model":"b"}', b'{"model":"x","n":1e5,"model":"x","t":0.5}'),
        (
            b' { "model" : "a" , "u":"\\ud83d" }\n',
            b' { "model" : "x" , "u":"\\ud83d" , "t" : 0.5 }\n',
        ),
        (b'{"in": {"model": 1}, "big": 1' + b"0" * 5000 + b"}", None),
    ],
)
def test_all_else_stays(raw: bytes, expected: bytes | None) -> None:
    """Every byte that is not such a field's stays, also what JSON readers would write otherwise."""
    found = with_fields(raw, {"model": "x", "t": 0.5})
    if expected is None:
        expected = raw[:-1] + b', "model": "x", "t": 0.5}'
    assert found == expected


def test_nothing_to_set() -> None:
    """Without fields the bytes are the same, whatever they are."""
    raw = orjson.dumps({"a": 1}) + b"\n"
    assert with_fields(raw, {}) == raw
