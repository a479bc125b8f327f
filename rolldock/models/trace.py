"""A sealed trace: the turns of one attempt in slot order, and how its session ended.

With what is read from it: samples (`rolldock/samples.py`) and transitions
(`rolldock/transitions.py`). Neither is stored.
"""

from typing import Self

from pydantic import Field, model_validator

from .base import Contract, Record, UtcTime
from .session import EndReason, TurnError
from .spec import Auxiliary, RolloutId
from .turn import TokenSource, Turn


class TraceSummary(Record):
    """What a result says of its trace; the turns are behind `ref`."""

    ref: str
    """The store's name of the sealed trace."""
    n_turns: int = Field(default=0, ge=0)
    n_branches: int = Field(default=0, ge=0)
    """Leaves of the parent tree: 1 for a plain conversation."""
    n_samples: int = Field(default=0, ge=0)
    """What `samples()` gives where every turn trains; 0 where the model server gave no ids."""
    n_clean: int = Field(default=0, ge=0)
    """Turns whose prompt begins with exactly the tokens of their parent."""
    n_forked: int = Field(default=0, ge=0)
    """Turns whose prompt does not. Roots, and turns without ids on either side, are neither."""
    max_drift_tokens: int = Field(default=0, ge=0)
    """The largest drift of a forked turn."""
    untrainable: str | None = None
    """Why the recorded tokens and log-probs must not be trained on; None: nothing is wrong with
    them. What the spec or the rollout's end say against it is not in here."""
    n_errors: int = Field(default=0, ge=0)
    n_replayed: int = Field(default=0, ge=0)
    """Turns whose answer was a recorded one; the model was asked for the others."""
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
    auxiliary: tuple[int, ...] = ()
    """The slots of the turns that stand beside the agent's conversation, as its file knows them."""
    auxiliary_policy: Auxiliary = Auxiliary.TRAIN
    """What becomes of those in samples."""
    sealed_at: UtcTime


class Span(Contract):
    """A turn in a sample: its completion is `token_ids[start:end]`, its prompt all before."""

    slot: int = Field(ge=0)
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    trains: bool
    """Whether it trains here: mask 1 from start to end, else 0."""
    source: TokenSource
    temperature: float | None = None
    """As sent to the model server."""
    policy_version_start: str | None = None
    policy_version_end: str | None = None
    """Another than at the start: the turn spans an update, and which of its tokens came before it
    is not known."""


class Sample(Contract):
    """One sequence to train on: a path of turns, each of which extends the one before it.

    `token_ids`, `mask` and `logprobs` have equal length. It ends with its last turn's completion.
    """

    token_ids: tuple[int, ...]
    mask: tuple[int, ...]
    """0 or 1. 1: the model sampled this token, and it trains in this sample and in no other."""
    logprobs: tuple[float, ...]
    """Of the sampled tokens; 0.0 wherever the mask is 0, also where the log-prob is known."""
    spans: tuple[Span, ...]
    """Its turns, from the root of the path to its end."""
    policy_versions: tuple[str, ...] = ()
    """Those that sampled what trains here, in order of appearance; a turn that spans an update
    counts with both. Which turn had which is in `spans`."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        lengths = {len(self.token_ids), len(self.mask), len(self.logprobs)}
        if len(lengths) != 1 or any(span.end > len(self.token_ids) for span in self.spans):
            raise ValueError(f"ids, mask, log-probs and spans disagree in length: {lengths}")
        return self


class Transition(Contract):
    """How a turn's tokens stand to those of its parent, both known."""

    slot: int = Field(ge=0)
    parent: int = Field(ge=0)
    drift_tokens: int = Field(ge=0)
    """How many of the parent's tokens (prompt and completion) this prompt does not begin with;
    0: clean, more: forked."""
