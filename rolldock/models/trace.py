"""A sealed trace: the turns of one attempt in slot order, and how its session ended."""

from pydantic import Field

from .base import Record, UtcTime
from .session import EndReason, TurnError
from .spec import RolloutId
from .turn import Turn


class TraceSummary(Record):
    """What a result says of its trace; the turns are behind `ref`."""

    ref: str
    """The store's name of the sealed trace."""
    n_turns: int = Field(default=0, ge=0)
    n_branches: int = Field(default=0, ge=0)
    """Leaves of the parent tree: 1 for a plain conversation."""
    n_samples: int = Field(default=0, ge=0)
    """Paths along `extends`; 0 where the model server gave no ids."""
    n_errors: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    policy_version_first: str | None = None
    policy_version_last: str | None = None
    end_reason: EndReason | None = None
    undelivered: bool = False
    """The newest turn's last byte never reached the agent."""


class Trace(Record):
    """All that an attempt's session recorded, sealed."""

    schema_version: int = 1
    attempt: str
    rollout: RolloutId
    turns: tuple[Turn, ...]
    errors: tuple[TurnError, ...] = ()
    delivered: tuple[int, ...] = ()
    """Slots whose last byte went to the agent."""
    end_reason: EndReason | None = None
    sealed_at: UtcTime
