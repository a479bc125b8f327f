"""What to list of the index: filters, order and page. Knows no SQL."""

from pydantic import Field, field_validator

from rolldock.models.base import Contract, UtcTime
from rolldock.models.result import IndexEntry, Status, StopReason

NEWEST_FIRST = "-ended_at"


class Query(Contract):
    """Which ended rollouts, all filters together; None: whatever it is."""

    experiment: str | None = None
    group: str | None = None
    task: str | None = None
    agent: str | None = None
    endpoint: str | None = None
    status: Status | None = None
    stop_reason: StopReason | None = None
    cause: str | None = None
    """Of the failure; a name that is not known may be one of a later version."""
    failed_in: str | None = None
    """The stage of the failure."""
    replay_of: str | None = None
    """The id of the rollout that was replayed."""
    reward_below: float | None = None
    """Rewards less than this; a rollout without a reward is never among them."""
    reward_above: float | None = None
    """Rewards greater than this."""
    since: UtcTime | None = None
    """Ended at this time or later."""
    until: UtcTime | None = None
    """Ended before this time."""
    text: str | None = None
    """Part of the rollout's id, in any case of letters."""
    sort: str = NEWEST_FIRST
    """A field of `IndexEntry`, `-` before it for descending; what has no value comes last."""
    limit: int | None = Field(default=None, ge=0)
    """Entries at most; None: all."""
    offset: int = Field(default=0, ge=0)
    """Entries passed over, for pages."""

    @field_validator("sort")
    @classmethod
    def _known(cls, value: str) -> str:
        if value.removeprefix("-") not in IndexEntry.model_fields:
            known = ", ".join(sorted(IndexEntry.model_fields))
            raise ValueError(f"{value!r} is no field to sort by: {known}; -FIELD for descending")
        return value
