"""What a rollout takes from an earlier one: from where it replays, and where two runs part."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from .base import Contract, Record


class ReplayFrom(StrEnum):
    """What of the earlier rollout is not done again."""

    START = "start"
    """Nothing: the same spec, a fresh sandbox, the live model."""
    GRADE = "grade"
    """The agent's work: a checkpoint of its sandbox is graded, no model is called."""
    RECORDING = "recording"
    """The model's answers: the agent runs again and gets the recorded turns."""
    TURN = "turn"
    """The answers up to a turn; after it the model is asked: a fork."""


class OnDivergence(StrEnum):
    """What becomes of a replay whose agent asks what was not recorded."""

    STOP = "stop"
    """The session ends, and the report says where and how they part."""
    LIVE = "live"
    """The report is kept, and the model is asked from there on."""


class ReplayPoint(Contract):
    """Where in an earlier rollout a replay takes up. Its id is `RolloutSpec.replay_of`."""

    kind: ReplayFrom
    attempt: str
    """The attempt whose session is played, or whose sandbox's checkpoint is graded."""
    turn: int | None = Field(default=None, ge=0)
    """The slot of the last recorded turn that is played; only of `turn`."""
    on_divergence: OnDivergence = OnDivergence.STOP

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.turn is not None) is not (self.kind is ReplayFrom.TURN):
            raise ValueError("turn: name a turn to replay from a turn, and only then")
        return self


class Replayed(Record):
    """The recorded turn that a turn repeats: its answer is that one's, and no model was asked."""

    attempt: str
    slot: int = Field(ge=0)


class Divergence(Record):
    """Where an agent asked something else than was recorded."""

    slot: int = Field(ge=0)
    """Of the replay's own session."""
    recorded_slot: int | None = Field(default=None, ge=0)
    """The recorded turn that is nearest; None: no turn was left."""
    turn: int = Field(ge=0)
    """How many turns lie before it on its branch."""
    field: str
    """The first place that differs, e.g. `messages[3].content`."""
    recorded: str | None = None
    """What stood there; long texts are cut around the difference."""
    asked: str | None = None
    diff: str = ""
    """The difference as a unified diff, at most 4,000 characters."""
    went_live: bool = False
