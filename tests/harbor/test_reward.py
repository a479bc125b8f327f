"""Harbor's table of reward files, row by row."""

import pytest

from rolldock.harbor.reward import RewardInvalid, parse_reward, single_reward


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1\n", 1.0),
        (b"0.5", 0.5),
        (b" 0 ", 0.0),
        (b"-3", -3.0),
        (b"17.25\n\n", 17.25),
        (b"1e-3", 0.001),
    ],
)
def test_a_text_file_with_a_number_is_the_reward(text: bytes, value: float) -> None:
    """Any finite number, of whatever range, with blanks around it."""
    assert parse_reward(None, text) == {"reward": value}


@pytest.mark.parametrize("text", [b"", b"\n", b"1 0", b"True", b"nan", b"inf", b"-inf", b"\xff1"])
def test_a_text_file_without_a_number_is_invalid(text: bytes) -> None:
    """Nothing is ever taken for 0."""
    with pytest.raises(RewardInvalid, match=r"reward\.txt"):
        parse_reward(None, text)


@pytest.mark.parametrize(
    ("text", "rewards"),
    [
        (b'{"reward": 1, "fmt": 0.5}', {"reward": 1.0, "fmt": 0.5}),
        (b'{"a": true, "b": false}', {"a": 1.0, "b": 0.0}),
        (b"{}", {}),
        (b'{"a": -2}\n', {"a": -2.0}),
    ],
)
def test_a_json_object_of_numbers_is_taken_as_it_is(text: bytes, rewards: dict[str, float]) -> None:
    """Booleans count as numbers, and an object may be empty."""
    assert parse_reward(text, None) == rewards


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0.7",
        b"true",
        b"null",
        b'"1"',
        b"[1]",
        b"{",
        b'{"a": "1"}',
        b'{"a": null}',
        b'{"a": [1]}',
        b'{"a": {"b": 1}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 400 + b"}",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_json_that_is_no_object_of_numbers_is_invalid(text: bytes) -> None:
    """Scalars, strings, nested values, null and what is not finite are refused."""
    with pytest.raises(RewardInvalid, match=r"reward\.json"):
        parse_reward(text, None)


def test_json_wins_over_text() -> None:
    """Where both files exist the JSON counts, even when it is broken."""
    assert parse_reward(b'{"reward": 1}', b"0") == {"reward": 1.0}
    with pytest.raises(RewardInvalid):
        parse_reward(b"", b"1")


def test_no_file_is_invalid() -> None:
    """Tests that wrote nothing have no reward, and the message names both files."""
    with pytest.raises(RewardInvalid, match=r"reward\.txt nor .*reward\.json"):
        parse_reward(None, None)


@pytest.mark.parametrize(
    ("rewards", "value"),
    [
        ({"reward": 0.5, "fmt": 1.0}, 0.5),
        ({"fmt": 1.0}, 1.0),
        ({"a": 1.0, "b": 0.0}, None),
        ({}, None),
    ],
)
def test_the_single_reward(rewards: dict[str, float], value: float | None) -> None:
    """The key `reward`, else the only value, else none."""
    assert single_reward(rewards) == value
