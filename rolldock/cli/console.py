"""Tables on a person's terminal, and the same in full width where nobody looks."""

from collections.abc import Iterable
from typing import Final

from rich.box import SIMPLE_HEAD
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

    Where the terminal is narrow, cells fold; nothing is left out.
    """
    right = set(numbers)
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            min_width=max(len(word) for word in column.split()),
            overflow="fold",
        )
    return made


def cells(*values: object) -> list[Text]:
    """A row: None is a dash, control characters are written out."""
    return [Text("-" if value is None else plain(str(value))) for value in values]


def seconds(value: float | None) -> str:
    """A duration in seconds, one decimal."""
    return "-" if value is None else f"{value:.1f}"


def number(value: float | None) -> str:
    """A reward as it was given, without a tail of zeros."""
    return "-" if value is None else f"{value:g}"
