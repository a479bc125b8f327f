"""Tables on a person's terminal, and the same in full width where nobody looks."""

from collections.abc import Iterable
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rolldock.cli.text import plain

_UNWATCHED_WIDTH: Final = 400
"""Into a pipe or a file nothing is folded."""


def console(*, stderr: bool = False) -> Console:
    """A console that takes no markup and paints nothing of its own."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = _UNWATCHED_WIDTH
    return made


def table(columns: Iterable[str], numbers: Iterable[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are set right.

    Where the terminal is narrow, texts fold; numbers stay whole (`print_table`).
    """
    right = set(numbers)
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            min_width=max(len(word) for word in column.split()),
            overflow="fold",
            no_wrap=column in right,
        )
    return made


def print_table(made: Table, out: Console | None = None) -> None:
    """Print a table, nothing left out: where it cannot be as narrow as the terminal, lines wrap."""
    out = out or console()
    columns = [[cell_len(str(cell)) for cell in column.cells] for column in made.columns]
    least = [
        max([column.min_width or 0, *(lengths if column.no_wrap else ())])
        for column, lengths in zip(made.columns, columns, strict=True)
    ]
    terminal = out.width
    # One character stands between two columns. A console cuts what is wider than itself.
    out.width = max(terminal, sum(least) + len(least))
    out.print(made, crop=False)
    out.width = terminal


def cells(*values: object) -> list[Text]:
    """A row: None is a dash, control characters are written out."""
    return [Text("-" if value is None else plain(str(value))) for value in values]


def seconds(value: float | None) -> str:
    """A duration in seconds, one decimal."""
    return "-" if value is None else f"{value:.1f}"


def number(value: float | None) -> str:
    """A reward as it was given, without a tail of zeros."""
    return "-" if value is None else f"{value:g}"
