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


class LostSession(Contract):
    """What is recorded of an attempt that no result names."""

    attempt: str
    rollout: str | None
    """None: its records do not say."""
    last_at: UtcTime
    """When the newest of its records was written."""
    n_records: int = Field(ge=0)
    n_bytes: int = Field(ge=0)


class HalfWritten(Contract):
    """A file that a killed process has left."""

    name: str
    n_bytes: int = Field(ge=0)


class StoreUser(Record):
    """A deployment that keeps its records in a store."""

    deployment: str
    namespace: str
    """Of Temporal, for a person to tell it by."""
    since: UtcTime


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
    sessions: tuple[LostSession, ...] = ()
    """Old enough, of no open rollout, and named by no result."""
    half_written: tuple[HalfWritten, ...] = ()
    """Left by processes that are gone."""
    others: tuple[StoreUser, ...] = ()
    """Other deployments that keep their records here: what their open rollouts need is not known,
    so that `blobs` and `sessions` are empty; none, where a person has said that they are gone."""
    blobs_before: UtcTime
    """None of `blobs` was stored or held at this time or later."""


class Collected(Contract):
    """What was freed."""

    n_recordings: int = Field(ge=0)
    """Rollouts whose recordings were deleted."""
    n_blobs: int = Field(ge=0)
    n_sessions: int = Field(default=0, ge=0)
    """Attempts that no result named."""
    n_half_written: int = Field(default=0, ge=0)
    n_bytes: int = Field(ge=0)
