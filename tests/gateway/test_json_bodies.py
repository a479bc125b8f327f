"""JSON bodies come back byte for byte, however they were written."""

import hashlib
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from rolldock.gateway.json_bodies import (
    MAX_DEPTH,
    BodyError,
    describe,
    encode,
    encoding_of,
    parse_object,
)
from rolldock.models.base import JsonObject
from rolldock.models.turn import Body, Encoding

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_OBJECTS = st.dictionaries(st.text(), _VALUES, max_size=6)
_STYLES = [encoding for encoding in Encoding if encoding is not Encoding.BLOB]


@settings(deadline=None)
@given(value=_OBJECTS, style=st.sampled_from(_STYLES))
def test_every_known_style_is_found(value: JsonObject, style: Encoding) -> None:
    """What was written in a known style is written again to the same bytes, also after the
    stored form has been through the store."""
    raw = encode(value, style)
    body = describe(parse_object(raw), raw)
    assert body.encoding is not Encoding.BLOB
    kept = Body.model_validate_json(body.model_dump_json())
    nulled = {key: value[key] for key in ("messages", "tools") if key in value}
    again = encode({**kept.fields, **nulled}, kept.encoding)
    assert again == raw
    assert hashlib.sha256(again).hexdigest() == kept.digest


@settings(deadline=None, max_examples=50)
@given(value=_OBJECTS, indent=st.integers(1, 4), gap=st.sampled_from([" ", "\n", "\t"]))
def test_odd_styles_are_kept_as_they_are(value: JsonObject, indent: int, gap: str) -> None:
    """Any other formatting is either rebuilt exactly or kept as bytes; never nearly right."""
    raw = (json.dumps(value, indent=indent) + gap).encode()
    parsed = parse_object(raw)
    encoding = encoding_of(parsed, raw)
    assert encoding is Encoding.BLOB or encode(parsed, encoding) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a":1e5}',
        b'{"a":"\\u0041"}',
        b'{"a":12345678901234567890123456789}',
        b'{ "a":1}',
        b'{"a":"\\/"}',
    ],
)
def test_lossy_bodies_are_blobs(raw: bytes) -> None:
    """A body that parsing loses something of is kept as bytes."""
    assert encoding_of(parse_object(raw), raw) is Encoding.BLOB


def test_python_floats_in_a_compact_body() -> None:
    """Replies of Python servers, whose small log-probs look unlike JavaScript's, need no blob."""
    raw = b'{"logprob":-1.1920928955078125e-07}'
    assert encoding_of(parse_object(raw), raw) is Encoding.COMPACT_REPR


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(codec="utf-16", exclude_categories=[])))
def test_half_pairs_become_replacement_characters(text: str) -> None:
    """Text that JavaScript cut in the middle of a pair is read, and can be sent on as UTF-8."""
    raw = json.dumps({"a": text}).encode()
    found = parse_object(raw)
    expected = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert found == {"a": expected} or "\ufffd" in str(found["a"])
    orjson.dumps(found)


def test_depth_is_limited() -> None:
    """A body may nest up to the limit and no deeper."""

    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    parse_object(nested(MAX_DEPTH))
    with pytest.raises(BodyError, match="deeper"):
        parse_object(nested(MAX_DEPTH + 1))
