"""Tables on terminals of any width."""

import io

import pytest
from rich.console import Console

from rolldock.cli.console import cells, print_table, table

COLUMNS = ("task", "agent", "tokens in", "median s", "failures")


@pytest.mark.parametrize("width", [20, 80, 120])
def test_numbers_stay_whole(width: int) -> None:
    """However narrow the terminal, every column is there and no number is cut or folded."""
    made = table(COLUMNS, numbers=("tokens in", "median s"))
    name = "a-task-with-quite-a-long-name-of-its-own"
    made.add_row(*cells(name, "opencode", 1764196243, "1234.5", "sandbox_lost 3"))
    written = io.StringIO()
    print_table(made, Console(file=written, width=width, force_terminal=True, color_system=None))
    said = written.getvalue()
    for whole in ("1764196243", "1234.5", "failures", "tokens"):
        assert whole in said
    assert name in said.replace("\n", "") or name[:4] in said
