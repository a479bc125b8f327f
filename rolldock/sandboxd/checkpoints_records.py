"""One checkpoint as sandboxd remembers it, and as the Prime API shows it. No behaviour."""

from enum import StrEnum

from rolldock.models.base import JsonObject, Record, UtcTime
from rolldock.sandboxd.records import HOST_IMAGE


class CheckpointState(StrEnum):
    """Where a checkpoint is in its life; the names are the API's."""

    PENDING = "PENDING"
    """It is being copied."""
    DURABLE = "DURABLE"
    """It can be restored."""
    FAILED = "FAILED"
    """It never will be."""
    DELETING = "DELETING"


class CheckpointRecord(Record):
    """The state of one checkpoint, on disk and in memory."""

    id: str
    sandbox_id: str
    parent_id: str | None = None
    """The checkpoint before it: of the same sandbox, or the one that sandbox was restored from."""
    depth: int = 0
    """How many parents it has."""
    team_id: str | None = None
    state: CheckpointState = CheckpointState.PENDING
    hostname: str
    """Stands in its files too, so whatever is restored from it has the same."""
    hidden: tuple[str, ...]
    """Paths of the host that it hides, marked in its files; a server that hides more cannot
    restore it."""
    n_bytes: int = 0
    error: str | None = None
    created_at: UtcTime
    updated_at: UtcTime

    @property
    def can_be_deleted(self) -> bool:
        """Whether nothing is being done with it."""
        return self.state in (CheckpointState.DURABLE, CheckpointState.FAILED)

    def as_checkpoint(self) -> JsonObject:
        """The API's checkpoint object."""
        return {
            "id": self.id,
            "sandbox_id": self.sandbox_id,
            "parent_id": self.parent_id,
            "team_id": self.team_id,
            "state": self.state.value,
            "depth": self.depth,
            "docker_image": HOST_IMAGE,
            "stored_bytes": self.n_bytes,
            "occupied_bytes": self.n_bytes,
            "error": self.error,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }
