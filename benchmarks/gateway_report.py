"""The gateway's benchmark as tables and as JSON. Measures nothing."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from gateway_cells import Cell, Shape
from gateway_extras import OpenCalls
from gateway_session import SessionSize
from rich.table import Table

_MIB: Final = 1024 * 1024
_COLUMNS: Final = (
    "server",
    "requests/s",
    "of aiohttp",
    "of verifiers",
    "p50 added",
    "p99 added",
    "CPU/request",
    "memory",
)


def throughput_table(cells: Sequence[Cell]) -> Table:
    """All servers under each shape; latencies are those beyond the straight ones."""
    made = Table(title="the gateway and its peers; milliseconds and MiB")
    for column in _COLUMNS:
        made.add_column(column, justify="left" if column == "server" else "right")
    for shape in _shapes(cells):
        of_shape = {cell.server: cell for cell in cells if cell.shape == shape}
        made.add_section()
        made.add_row(f"[bold]{shape}[/bold]")
        for cell in of_shape.values():
            made.add_row(*_row(cell, of_shape))
    return made


def first_token_table(cells: Sequence[Cell]) -> Table:
    """The delay of the first token against the model server's own."""
    made = Table("server", "first token", "added", title="live delivery; milliseconds at p50")
    straight = next((cell.first_token_p50 for cell in cells if cell.server == "straight"), 0.0)
    for cell in cells:
        added = cell.first_token_p50 - straight
        made.add_row(cell.server, _ms(cell.first_token_p50), _ms(added))
    return made


def open_calls_table(found: Sequence[OpenCalls]) -> Table:
    """Memory while calls are open."""
    made = Table(
        "bodies",
        "calls open",
        "before",
        "open",
        "after",
        title="gateway memory, MiB (both processes)",
    )
    for one in found:
        sizes = (one.before_bytes, one.open_bytes, one.after_bytes)
        made.add_row(
            f"{one.n_bytes / 1024:.1f} KB",
            str(one.n_calls),
            *(f"{size / _MIB:.0f}" for size in sizes),
        )
    return made


def session_table(size: SessionSize) -> Table:
    """A long session's size and seal."""
    made = Table("", "", title="a session of 100 turns and 64,000 tokens", show_header=False)
    made.add_row("stored, MB", f"{size.n_bytes / 1e6:.2f}")
    made.add_row("stored with the trace, MB", f"{size.n_sealed_bytes / 1e6:.2f}")
    made.add_row("sealed in, s", f"{size.seal_seconds:.2f}")
    return made


def as_json(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of named tuples as objects."""
    return [one._asdict() for one in found]


def _shapes(cells: Sequence[Cell]) -> Iterator[Shape]:
    yield from dict.fromkeys(cell.shape for cell in cells)


def _row(cell: Cell, others: dict[str, Cell]) -> tuple[str, ...]:
    straight = others.get("straight")
    added = (
        ("", "")
        if straight is None or straight is cell
        else (_ms(cell.p50 - straight.p50), _ms(cell.p99 - straight.p99))
    )
    used = (
        ("", "")
        if cell.server == "straight"
        else (_ms(cell.cpu_seconds), f"{cell.rss_bytes / _MIB:.0f}")
    )
    return (
        cell.server,
        f"{cell.requests_per_second:,.0f}",
        _ratio(cell, others.get("aiohttp")),
        _ratio(cell, others.get("verifiers")),
        *added,
        *used,
    )


def _ratio(cell: Cell, other: Cell | None) -> str:
    if other is None or cell.server == "straight":
        return ""
    return f"{cell.requests_per_second / other.requests_per_second:.2f}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"
