"""What the store holds, what of it can be freed, and what was."""

from pydantic import Field

from .base import Contract, Record, UtcTime
from .spec import RolloutId, Sha256


class RecordingDeleted(Record):
    """The mark in the place of an attempt's session log and trace."""

    deleted_at: UtcTime
    after_days: float = Field(ge=0)
    """From the end of its rollout."""


class Holding(Contract):
    """Records of one kind."""

    kind: str
    n_records: int = Field(ge=0)
    n_bytes: int = Field(ge=0)
    oldest_at: UtcTime | None = None
    """None: there are none."""


class Recording(Contract):
    """The session logs and traces of one ended rollout."""

    rollout: RolloutId
    attempts: tuple[str, ...]
    ended_at: UtcTime
    n_records: int = Field(ge=0)
    n_bytes: int = Field(ge=0)


class UnnamedBlob(Contract):
    """A blob that no record names."""

    digest: Sha256
    n_bytes: int = Field(ge=0)


class Collection(Contract):
    """What a look at the store found: its holdings, and what could be freed of them."""

    holdings: tuple[Holding, ...]
    recordings: tuple[Recording, ...] = ()
    """Old enough to be deleted, and played by no replay."""
    blobs: tuple[UnnamedBlob, ...] = ()
    """Named by nothing that would stay, and old enough."""
    blobs_before: UtcTime
    """None of `blobs` was stored or held at this time or later."""


class Collected(Contract):
    """What was freed."""

    n_recordings: int = Field(ge=0)
    """Rollouts whose recordings were deleted."""
    n_blobs: int = Field(ge=0)
    n_bytes: int = Field(ge=0)
