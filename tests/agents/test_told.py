"""What an agent is told of its deadline."""

from datetime import UTC, datetime

from rolldock.agents.told import told_deadline


def test_the_line_and_the_variable_name_the_same_second() -> None:
    """Below the instruction, whose own text stays as it is."""
    told = told_deadline("Do it.\n", datetime(2026, 1, 2, 3, 4, 5, 600_000, UTC))
    instruction, line = told.content.rstrip("\n").split("\n\n")
    assert instruction == "Do it."
    assert "2026-01-02 03:04:05 UTC" in line
    assert told.env == {"ROLLDOCK_DEADLINE": "1767323045"}
    assert "1767323045" in line
