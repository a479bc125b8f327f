"""What happened: `RolloutResult`, written once by the seal of the last attempt."""

from enum import StrEnum

from pydantic import Field

from .base import Record, UtcTime
from .failure import Failure
from .spec import Name, RolloutId, RolloutSpec, Sha256
from .trace import TraceSummary


class Status(StrEnum):
    """`completed` was graded, `failed` could not be, `cancelled` was asked to end."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StopReason(StrEnum):
    """Why the agent ended."""

    AGENT_COMPLETED = "agent_completed"
    AGENT_ERROR = "agent_error"
    AGENT_TIMEOUT = "agent_timeout"
    MAX_TURNS = "max_turns"
    TOKEN_BUDGET = "token_budget"
    CONTEXT_LENGTH = "context_length"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    INFRASTRUCTURE = "infrastructure"


class Stage(StrEnum):
    """The steps of an attempt, in order; the values are the activities' names.

    Eight of them, and `keep_workspace` where the spec asks for it. Only the first stage, the grade
    and the last two belong to a rollout that only grades.
    """

    CREATE_SANDBOX = "create_sandbox"
    SET_UP_SANDBOX = "set_up_sandbox"
    START_AGENT = "start_agent"
    AWAIT_AGENT = "await_agent"
    STOP_AGENT = "stop_agent"
    KEEP_WORKSPACE = "keep_workspace"
    GRADE = "grade"
    SEAL_TRACE = "seal_trace"
    DELETE_SANDBOX = "delete_sandbox"


class Artifact(Record):
    """A file kept from the sandbox, by reference."""

    name: str
    """Where it stood, e.g. `verifier/test-stdout.txt`, `agent-stdout.log`."""
    digest: Sha256
    n_bytes: int = Field(ge=0)
    truncated: bool = False
    """Only the last part was kept."""


class AttemptResult(Record):
    """One sandbox and one trace of the rollout, whatever became of them."""

    attempt: str
    number: int = Field(ge=1)
    sandbox_id: str | None = None
    """None: no create succeeded."""
    stage: str
    """The last stage that was begun."""
    stop_reason: StopReason
    agent_version: str | None = None
    agent_exit_code: int | None = None
    failure: Failure | None = None
    trace: TraceSummary | None = None
    trace_error: str | None = None
    """Why there is no trace although a session was recorded: its records are in the store."""
    artifacts: tuple[Artifact, ...] = ()
    checkpoint: str | None = None
    """The checkpoint that was kept of its sandbox; the ledger says until when."""
    checkpoint_error: str | None = None
    """Why none was kept although one was to be. It costs neither grade nor reward."""
    started_at: UtcTime
    ended_at: UtcTime | None = None
    timings: dict[str, float] = Field(default_factory=dict[str, float])
    """Seconds per stage; the seal and the delete run after the record is written."""


class RolloutResult(Record):
    """The commit point of a rollout. Field meanings are those of the design's contract table."""

    schema_version: int = 1
    rollout: RolloutId
    run: str
    """Temporal's run id."""
    experiment: Name
    group: Name | None = None
    spec: RolloutSpec
    spec_digest: Sha256
    task_digest: Sha256
    agent: str
    agent_version: str | None = None
    status: Status
    stop_reason: StopReason
    failure: Failure | None = None
    """None when completed."""
    reward: float | None = None
    """The key `reward`, else the only value, else None; None unless completed."""
    rewards: dict[str, float] = Field(default_factory=dict[str, float])
    reward_valid: bool = False
    trainable: bool = False
    not_trainable_because: str | None = None
    trace: TraceSummary | None = None
    """Of the last attempt."""
    attempts: tuple[AttemptResult, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    timings: dict[str, float] = Field(default_factory=dict[str, float])
    """Seconds per stage of the last attempt, and `total`."""
    started_at: UtcTime
    ended_at: UtcTime


class IndexEntry(Record):
    """At most 1 KB of a result, for lists: `index/{date}/{experiment}/{rollout}`."""

    rollout: RolloutId
    experiment: Name
    group: Name | None = None
    task: str
    agent: str
    endpoint: str | None = None
    status: Status
    stop_reason: StopReason
    cause: str | None = None
    failed_in: str | None = None
    """The stage of the failure."""
    reward: float | None = None
    replay_of: RolloutId | None = None
    n_turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0
    ended_at: UtcTime
