"""The table of finished rollouts, for `run` and for the demo."""

from collections.abc import Iterable
from typing import Final

from rich.table import Table

from rolldock.cli.console import cells, number, seconds, table
from rolldock.models.result import RolloutResult

_COLUMNS: Final = (
    *("task", "agent", "reward", "stop reason"),
    *("turns", "tokens in", "tokens out", "seconds"),
)


def results_table(results: Iterable[RolloutResult]) -> Table:
    """One row each, in the order given."""
    made = table(_COLUMNS, numbers=("reward", *_COLUMNS[4:]))
    for result in results:
        trace = result.trace
        made.add_row(
            *cells(
                result.spec.task.name,
                result.agent,
                number(result.reward),
                ending(result),
                trace.n_turns if trace else 0,
                trace.input_tokens if trace else 0,
                trace.output_tokens if trace else 0,
                seconds(result.timings.get("total")),
            )
        )
    return made


def ending(result: RolloutResult) -> str:
    """The stop reason of a graded rollout, else the cause of its failure."""
    if result.failure is None:
        return str(result.stop_reason)
    status, cause = str(result.status), str(result.failure.cause)
    return status if cause == status else f"{status}: {cause}"
