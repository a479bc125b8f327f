"""Templates in env tables."""

import pytest

from rolldock.harbor.templates import MissingVariable, resolve


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("${FOO}", "bar"),
        ("${FOO:-d}", "bar"),
        ("${NOPE:-x}", "x"),
        ("${NOPE:-}", ""),
        ("${NOPE:-a:-b}", "a:-b"),
        ("pre${FOO}", "pre${FOO}"),
        ("${A}${B}", "${A}${B}"),
        ("$FOO", "$FOO"),
        ("plain", "plain"),
    ],
)
def test_only_whole_values_are_templates(value: str, resolved: str) -> None:
    """As in Harbor: a template is the whole value or none."""
    assert resolve({"X": value}, {"FOO": "bar"}) == {"X": resolved}


def test_a_variable_that_is_not_offered_is_an_error() -> None:
    """Without a default the message names the variable."""
    with pytest.raises(MissingVariable, match="NOPE"):
        resolve({"X": "${NOPE}"}, {"FOO": "bar"})
