"""The table of the matrix: one line per agent and scene, printed when all tests have ended.

It decides nothing: what a line should say is asserted in `test_matrix.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Final

from rich.console import Console
from rich.table import Table

from rolldock.models.result import RolloutResult

_WIDTH: Final = 140
_COLUMNS: Final = ("agent", "version", "wire format", "scene", "turns", "reward")
_ENDS: Final = ("stop reason", "seconds")
_NUMBERS: Final = frozenset({"turns", "reward", "seconds"})


@dataclass(frozen=True)
class Row:
    """One rollout."""

    wire_format: str
    """That of the agent; with what the model server was asked in, where that is another."""
    scene: str
    result: RolloutResult

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        result = self.result
        return (
            result.agent,
            result.agent_version or "",
            self.wire_format,
            self.scene,
            "" if result.trace is None else str(result.trace.n_turns),
            "" if result.reward is None else f"{result.reward:g}",
            result.stop_reason.value,
            f"{result.timings.get('total', 0):.1f}",
        )


def written(rows: Sequence[Row]) -> str:
    """The table as plain text."""
    table = Table()
    for name in (*_COLUMNS, *_ENDS):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    before = ""
    for row in rows:
        if before and row.result.agent != before:
            table.add_section()
        table.add_row(*row.cells())
        before = row.result.agent
    console = Console(file=StringIO(), width=_WIDTH)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
