"""The ledger of checkpoints: what was asked of the sandbox API, what came of it, what was deleted.

No API lists checkpoints, and they have no labels: what is not written here is lost. Three
create-once records per attempt, named in `rolldock/store/keys.py`.
"""

from pydantic import Field

from .base import Record, UtcTime
from .result import StopReason
from .spec import RolloutId


class CheckpointAsked(Record):
    """Written before a checkpoint is asked for, with all that grading it again needs to know."""

    deployment: str
    """Whose it is: installations may share a store, and each sweeps for itself."""
    rollout: RolloutId
    run: str
    attempt: str
    sandbox_id: str
    """Whose checkpoints can be listed by it, also after its end."""
    workdir: str
    """Where the agent worked and the tests run."""
    stop_reason: StopReason
    """Why the agent ended; the result of a failed grading says `infrastructure` instead."""
    agent_version: str | None = None
    agent_exit_code: int | None = None
    asked_at: UtcTime
    expires_at: UtcTime
    """From then on the reaper deletes it, unless its rollout or a replay of it is open."""


class CheckpointMade(Record):
    """The checkpoint that can be restored."""

    checkpoint_id: str
    made_at: UtcTime
    n_bytes: int | None = Field(default=None, ge=0)
    """What it occupies, where the API says."""


class CheckpointGone(Record):
    """All checkpoints of the attempt's sandbox were deleted; there may have been none."""

    gone_at: UtcTime
    deleted: tuple[str, ...] = ()
