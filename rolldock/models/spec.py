"""What is asked for: `RolloutSpec`, the whole input of one rollout.

A spec travels in workflow history and in the result record, so it holds names and digests, never
files, keys, URLs or ports.
"""

import re
from enum import StrEnum
from typing import Annotated, Final, Self, TypeAlias

from pydantic import AfterValidator, Field, JsonValue, model_validator

from .base import Contract
from .replay import ReplayFrom, ReplayPoint

ROLLOUT_ID_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._/@-]{1,200}")
NAME_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._/:@+-]{1,128}")


GRADE_RESERVE_SECONDS: Final = 120.0
"""Kept back from the agent, beside the grading itself, when a rollout's total is short."""


def _rollout_id(value: str) -> str:
    if not ROLLOUT_ID_CHARACTERS.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a rollout id: use 1 to 200 of A-Z a-z 0-9 . _ / @ -, "
            "for example grpo-7/12/hello-world/0"
        )
    if any(part in ("", ".", "..") for part in value.split("/")):
        raise ValueError(f"{value!r} is not a rollout id: no part may be empty, '.' or '..'")
    return value


def _name(value: str) -> str:
    if not NAME_CHARACTERS.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: use 1 to 128 of A-Z a-z 0-9 . _ / : @ + -")
    return value


RolloutId: TypeAlias = Annotated[str, AfterValidator(_rollout_id)]
"""The workflow id, chosen by the caller; starting the same id twice re-attaches."""

Name: TypeAlias = Annotated[str, AfterValidator(_name)]
"""An experiment, group, endpoint or tenant."""

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Purpose(StrEnum):
    """Why the rollout runs: `train` demands token ids, and nothing else can be trainable."""

    TRAIN = "train"
    EVAL = "eval"


class Delivery(StrEnum):
    """How the gateway answers a streamed call: after the turn is stored, or as it comes."""

    HELD = "held"
    LIVE = "live"


class Auxiliary(StrEnum):
    """What becomes of calls beside the conversation, such as titles and compaction."""

    TRAIN = "train"
    """They train like any other turn."""
    CONTEXT = "context"
    """Their tokens stay in the path, with mask 0."""
    DROP = "drop"
    """They do not train, and a path does not end in them: their tokens stay only where a turn that
    is kept extends them, because there they are its prompt."""


class TaskRef(Contract):
    """A task by the digest of its bundle; the bundle itself is a blob in the store."""

    name: str = Field(min_length=1, max_length=200)
    digest: Sha256


class AgentRef(Contract):
    """An agent by its registered name."""

    name: str = Field(min_length=1, max_length=64)
    version: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}$")
    """None: the version pinned by this release."""
    options: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Options of that agent, as documented in its file."""
    env: dict[str, str] = Field(default_factory=dict[str, str])
    """Variables of its process, over what the agent's file sets. They stand in the history and in
    the result: no place for keys."""


class Sampling(Contract):
    """What the session sets whatever the agent asks; None leaves the agent's own value."""

    temperature: float | None = Field(default=None, ge=0, le=5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None


class Limits(Contract):
    """Budgets of tokens and turns, and wall-clock seconds per stage and in total."""

    max_turns: int | None = Field(default=None, ge=1)
    max_input_tokens: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    max_total_tokens: int | None = Field(default=None, ge=1)
    create_seconds: float = Field(default=900, gt=0)
    """From the first create to a sandbox that runs, over all tries; also the bound of one try.
    Waiting for quota is not counted."""
    setup_seconds: float = Field(default=360, gt=0)
    agent_seconds: float = Field(default=3600, gt=0)
    grade_seconds: float = Field(default=600, gt=0)
    """The run of test.sh; uploads and downloads have slack of their own."""
    total_seconds: float = Field(default=6 * 3600, gt=0, le=22 * 3600)
    """From the first attempt's start to the last grade; cleanup is never cut short by it."""


class Resources(Contract):
    """What the sandbox gets; the provider may round up."""

    image: str | None = None
    """None: the task's own image, else the provider's default. `host`: the image that a local
    sandbox server is, its own machine, whatever the task names."""
    cpu_cores: float = Field(default=1, gt=0, le=64)
    memory_gb: float = Field(default=2, gt=0, le=512)
    disk_gb: float = Field(default=5, gt=0, le=1024)


class RolloutSpec(Contract):
    """One rollout: a task, an agent, a model and the limits it runs under."""

    id: RolloutId
    task: TaskRef
    agent: AgentRef
    endpoint: Name | None = None
    """The endpoint record that names the model; None for agents that call no model."""
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    resources: Resources = Resources()
    attempts: int = Field(default=3, ge=1, le=10)
    """At most so many sandboxes, one after another, while failures allow a new attempt."""
    experiment: Name = "default"
    group: Name | None = None
    policy_version: str | None = Field(default=None, max_length=64)
    priority: int = Field(default=3, ge=1, le=5)
    """1 is the most urgent, as in Temporal."""
    tenant: Name | None = None
    """Whom quotas and fairness count for; None: the experiment."""
    replay_of: RolloutId | None = None
    """The rollout that this one replays."""
    replay: ReplayPoint | None = None
    """From where it does."""
    keep_workspace: bool = False
    """Whether what the agent left is kept as a checkpoint before it is graded, so that it can be
    graded again. Where grading fails for its infrastructure it is kept in any case, if it still
    can be."""
    purpose: Purpose = Purpose.TRAIN
    delivery: Delivery = Delivery.HELD
    auxiliary: Auxiliary = Auxiliary.TRAIN
    """What becomes of the calls that the agent's file knows as auxiliary, when samples are made."""
    tell_deadline: bool = False
    """Whether the agent learns when its time is over: a line below the instruction, and the
    variable ROLLDOCK_DEADLINE, in seconds since 1970."""

    @model_validator(mode="after")
    def _replay_is_whole(self) -> Self:
        if self.replay is not None and self.replay_of is None:
            raise ValueError("replay: says from where, so replay_of has to say of which rollout")
        return self

    @property
    def plays_recording(self) -> bool:
        """Whether model calls are answered from recorded turns, all of them or up to one."""
        kinds = (ReplayFrom.RECORDING, ReplayFrom.TURN)
        return self.replay is not None and self.replay.kind in kinds

    @property
    def only_grades(self) -> bool:
        """Whether no agent runs: what an earlier one left is graded again."""
        return self.replay is not None and self.replay.kind is ReplayFrom.GRADE
