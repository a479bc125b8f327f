"""What a caller asks of a replay, whatever rollouts it is of."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from rolldock.models.base import Contract
from rolldock.models.replay import OnDivergence, ReplayFrom
from rolldock.models.spec import RolloutId


class ReplayRequest(Contract):
    """From where rollouts are replayed, how often, and under which ids."""

    kind: ReplayFrom
    turn: int | None = Field(default=None, ge=1)
    """The last turn that is played from the recording, counted on its branch from 1."""
    branch: int | None = Field(default=None, ge=0)
    """The slot of the turn that the branch leads to; None: the last turn of the agent's
    conversation."""
    n: int = Field(default=1, ge=1)
    """Replays of each rollout."""
    on_divergence: OnDivergence = OnDivergence.STOP
    attempt: int | None = Field(default=None, ge=1)
    """The number of the attempt that is taken up; None: the last that has what is needed."""
    tests: Path | None = None
    """A task directory whose tests grade, in place of the rollout's own; only of `grade`."""
    id: RolloutId | None = None
    """The beginning of the replays' ids, so that the same request again re-attaches; None: ids of
    their own."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        is_turn = self.kind is ReplayFrom.TURN
        if (self.turn is not None) is not is_turn:
            raise ValueError("turn: give the number of a turn to replay from one, and only then")
        if self.branch is not None and not is_turn:
            raise ValueError("branch: it says on which branch a turn is, so replay from a turn")
        if self.tests is not None and self.kind is not ReplayFrom.GRADE:
            raise ValueError("tests: only a replay from the grade takes other tests")
        plays = self.kind in (ReplayFrom.RECORDING, ReplayFrom.TURN)
        if self.on_divergence is OnDivergence.LIVE and not plays:
            raise ValueError("on_divergence: nothing is played from a recording, so nothing parts")
        return self
