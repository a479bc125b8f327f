"""The tables of the cache, and how an entry and a query become SQL: values are always bound.

Opens nothing and keeps nothing.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from rolldock.index.query import Query
from rolldock.models.result import IndexEntry

COLUMNS: Final = tuple(IndexEntry.model_fields)
"""The fields of an entry, by their names; `ended_at` in microseconds since 1970."""
_EQUAL: Final = tuple(column for column in COLUMNS if column in Query.model_fields)
"""What a query names exactly."""

LAYOUT: Final = f"1: {' '.join(COLUMNS)}"
"""Of the tables; a file with another one is emptied and filled again."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Value: TypeAlias = str | int | float | None

CREATE: Final = (
    "CREATE TABLE about (store TEXT NOT NULL, layout TEXT NOT NULL, listed_at REAL)",
    f"""CREATE TABLE entries (
        name TEXT PRIMARY KEY, day TEXT NOT NULL, taken_at REAL NOT NULL, entry TEXT NOT NULL,
        {", ".join(f'"{column}"' for column in COLUMNS)}
    ) WITHOUT ROWID""",
    'CREATE INDEX by_end ON entries ("ended_at")',
    "CREATE INDEX by_day ON entries (day)",
    'CREATE INDEX by_rollout ON entries ("rollout")',
)

INSERT: Final = f"INSERT OR IGNORE INTO entries VALUES ({', '.join('?' * (4 + len(COLUMNS)))})"


def microseconds(at: datetime) -> int:
    """A time as the cache keeps it."""
    return (at - _EPOCH) // _MICROSECOND


def day_of(name: str) -> str:
    """The day that an entry's name puts it under."""
    return name.split("/", 2)[1]


def row(name: str, taken_at: float, content: bytes) -> tuple[Value, ...]:
    """An entry as a row of the table.

    Args:
        name: of the record, `index/{date}/{experiment}/{rollout}`.
        taken_at: seconds since 1970.
        content: the record itself, which is kept as it stands.

    Raises:
        ValueError: it is no entry that this version can read.
    """
    entry = IndexEntry.model_validate_json(content)
    fields = entry.model_dump(mode="json") | {"ended_at": microseconds(entry.ended_at)}
    return (name, day_of(name), taken_at, content.decode(), *(fields[name] for name in COLUMNS))


def where(query: Query) -> tuple[str, list[Value]]:
    """The condition of a query, and what is bound in it."""
    needed: list[tuple[str, Value]] = [
        *((f'"{column}" = ?', getattr(query, column)) for column in _EQUAL),
        ("reward < ?", query.reward_below),
        ("reward > ?", query.reward_above),
        ("ended_at >= ?", query.since and microseconds(query.since)),
        ("ended_at < ?", query.until and microseconds(query.until)),
        ("instr(lower(rollout), ?)", query.text and query.text.lower()),
    ]
    given = [(condition, value) for condition, value in needed if value is not None]
    return " AND ".join(["TRUE", *(one for one, _ in given)]), [value for _, value in given]


def order(query: Query) -> str:
    """The ORDER BY of a query: no value comes last, equals stand by the rollout's id."""
    direction = "DESC" if query.sort.startswith("-") else "ASC"
    return f'{column(query.sort.removeprefix("-"))} {direction} NULLS LAST, "rollout" ASC'


def column(field: str) -> str:
    """The column of a field of `IndexEntry`.

    Raises:
        ValueError: there is no such field.
    """
    return f'"{COLUMNS[COLUMNS.index(field)]}"'
