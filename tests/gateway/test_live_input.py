"""Arguments of tool calls on their way through `LiveInput`, read by the parser of the client."""

import json
from typing import cast

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import from_json

from rolldock.gateway.dialects.anthropic_input import LiveInput, read_input

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)
_PROPERTIES = st.dictionaries(st.text(max_size=9), _VALUES, max_size=4)


@st.composite
def objects(draw: st.DrawFn) -> str:
    """An object in one of the ways in which models write it."""
    indent, ascii_only = draw(st.sampled_from([None, 1])), draw(st.booleans())
    return json.dumps(draw(_PROPERTIES), ensure_ascii=ascii_only, indent=indent)


def passed_on(arguments: str, n_characters: int) -> list[str]:
    """What goes to the agent of arguments that come in pieces of this size."""
    live = LiveInput()
    starts = range(0, len(arguments), n_characters)
    pieces = [live.add(arguments[start : start + n_characters]) for start in starts]
    return [*pieces, live.rest()]


@settings(deadline=None)
@given(objects(), st.integers(1, 9))
def test_objects_pass_as_they_are(arguments: str, n_characters: int) -> None:
    """An object arrives character by character as the model wrote it."""
    assert "".join(passed_on(arguments, n_characters)) == arguments


@settings(deadline=None)
@given(objects(), st.integers(1, 9), st.floats(0, 1), st.text('"\\{}[],:u\n ax', max_size=3))
def test_the_client_can_always_read_it(
    arguments: str, n_characters: int, at: float, damage: str
) -> None:
    """Whatever is cut or broken, each prefix is one to the client, and the whole says what the
    model wrote."""
    place = int(at * len(arguments))
    for broken in (arguments[:place], arguments[:place] + damage + arguments[place:]):
        pieces = passed_on(broken, n_characters)
        for n in range(1, len(pieces) + 1):
            if prefix := "".join(pieces[:n]):
                from_json(prefix.encode(), allow_partial=True)
        whole = cast(dict[str, JsonValue], orjson.loads("".join(pieces) or "{}"))
        meant = read_input(broken)
        assert whole == meant if meant is not None else whole["INVALID_JSON"] == broken


def test_strings_do_not_wait_for_their_end() -> None:
    """The text of a property passes as it comes, but for half an escape."""
    live = LiveInput()
    assert live.add('{"content": "one') == '{"content": "one'
    assert live.add(" two\\") == " two"
    assert live.add("n\\ud83d") == "\\n"
    assert live.add("\\ude0") == ""
    assert live.add("0!") == "\\ud83d\\ude00!"
    assert live.add('"}') == ""
    assert live.rest() == '"}'
