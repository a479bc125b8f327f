"""The list of rollouts: what its address asks of the index, and the links to ask otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from rolldock.index.cache import IndexCache
from rolldock.index.query import NEWEST_FIRST, Query
from rolldock.models.result import IndexEntry, Status
from rolldock.view import places

PAGE_SIZE: Final = 50
FILTERS: Final = (
    *("text", "status", "experiment", "group", "task", "agent", "endpoint"),
    *("stop_reason", "cause", "failed_in", "replay_of", "reward_above", "reward_below"),
)
"""Fields of `Query` that an address may give."""
SUGGESTED: Final = ("experiment", "task", "agent", "endpoint", "cause", "failed_in", "stop_reason")
_MAX_SUGGESTED: Final = 200
_MAX_VALUE_CHARACTERS: Final = 300


@dataclass(frozen=True)
class Column:
    """A column of the table, by which it can be sorted."""

    field: str
    title: str
    is_number: bool = False


COLUMNS: Final = (
    Column("rollout", "Rollout"),
    Column("status", "Outcome"),
    Column("reward", "Reward", True),
    Column("agent", "Agent"),
    Column("n_turns", "Turns", True),
    Column("output_tokens", "Tokens out", True),
    Column("seconds", "Took", True),
    Column("ended_at", "Ended", True),
)


@dataclass(frozen=True)
class Asked:
    """What an address asks for."""

    query: Query
    page: int
    given: Mapping[str, str]
    """The filters that are in effect, as they were given."""
    problems: tuple[str, ...]
    """What was asked and could not be understood."""

    def link(self, **changes: str | int | None) -> str:
        """The same list, asked otherwise; a change of anything but the page leads to page 1."""
        sort = None if self.query.sort == NEWEST_FIRST else self.query.sort
        return places.rollouts(**({**self.given, "sort": sort} | changes))

    def sorted_by(self, column: Column) -> str:
        """The link of a column's title: ascending for words, descending first for numbers."""
        first, second = column.field, f"-{column.field}"
        if column.is_number:
            first, second = second, first
        sort = second if self.query.sort == first else first
        return self.link(sort=None if sort == NEWEST_FIRST else sort)

    def direction(self, column: Column) -> str | None:
        """How the list is sorted by a column, in the words of ARIA; None: it is not."""
        if self.query.sort.removeprefix("-") != column.field:
            return None
        return "descending" if self.query.sort.startswith("-") else "ascending"


@dataclass(frozen=True)
class Listing:
    """One page of the list."""

    asked: Asked
    entries: Sequence[IndexEntry]
    n_found: int
    n_by_status: Mapping[str, int]
    n_pages: int


def read_asked(asked: Mapping[str, str]) -> Asked:
    """An address's query; what cannot be understood is left out, and said."""
    given: dict[str, str] = {}
    problems: list[str] = []
    for name in (*FILTERS, "sort"):
        value = asked.get(name, "").strip()[:_MAX_VALUE_CHARACTERS]
        if not value:
            continue
        try:
            Query.model_validate_strings({name: value})
        except ValidationError as error:
            problems.append(f"{name.replace('_', ' ')} “{value}”: {error.errors()[0]['msg']}")
        else:
            given[name] = value
    page = max(1, places.whole_number(asked, "page", 1))
    place = {"limit": str(PAGE_SIZE), "offset": str((page - 1) * PAGE_SIZE)}
    query = Query.model_validate_strings({**given, **place})
    given.pop("sort", None)
    return Asked(query, page, given, tuple(problems))


def list_page(index: IndexCache, asked: Asked) -> Listing:
    """One page of what is asked; reads the cache of the index alone."""
    counted = {
        str(status): index.count(asked.query.model_copy(update={"status": status}))
        for status in Status
        if asked.query.status in (None, status)
    }
    n_found = sum(counted.values())
    return Listing(
        asked=asked,
        entries=index.find(asked.query),
        n_found=n_found,
        n_by_status=counted,
        n_pages=max(1, -(-n_found // PAGE_SIZE)),
    )


def suggestions(index: IndexCache) -> dict[str, list[str]]:
    """What filters may be set to, as far as a person can pick from it."""
    return {field: index.values(field)[:_MAX_SUGGESTED] for field in SUGGESTED}
