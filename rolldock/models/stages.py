"""What goes into and comes out of the activities: one model each way, references only."""

from pydantic import Field

from .base import Contract, UtcTime
from .failure import Failure
from .result import Artifact, AttemptResult, RolloutResult, Status, StopReason
from .spec import RolloutId, RolloutSpec, Sha256
from .trace import TraceSummary


class Pace(Contract):
    """How patient the workflow is: settings of the installation, part of the input so that a
    replay sees what the first run saw."""

    heartbeat_seconds: float = Field(default=60, gt=0)
    """A try whose worker has been silent this long is given up."""
    quota_hours: float = Field(default=3, gt=0)
    """How long a create waits for room under the limit of live sandboxes."""
    cleanup_hours: float = Field(default=12, gt=0)
    """How long deleting and sealing are retried."""


class RolloutRequest(Contract):
    """The input of the rollout workflow."""

    spec: RolloutSpec
    spec_digest: Sha256
    pace: Pace = Pace()


class Order(Contract):
    """An attempt as every activity is told of it."""

    rollout: RolloutId
    run: str
    attempt: str
    """A UUID, known before create: idempotency key, sandbox name and session."""
    number: int = Field(ge=1)
    spec: RolloutSpec
    spec_digest: Sha256
    deadline: UtcTime
    """When the attempt must be over, and its token expires; the rollout's own end until the sandbox
    runs, since only then the attempt's seconds count."""
    after_reset: bool = False
    """An earlier run of this rollout was reset: what it left of other attempts is ended."""


class LeftWork(Contract):
    """What an earlier attempt's agent left, as its new sandbox has it."""

    workdir: str
    stop_reason: StopReason
    """Why that agent ended."""
    agent_version: str | None = None
    agent_exit_code: int | None = None
    trace: TraceSummary | None = None
    """Of that attempt: its session is the only one."""
    trace_error: str | None = None


class CreateResult(Contract):
    """The sandbox, or the result that this rollout already has."""

    sandbox_id: str | None = None
    existing: RolloutResult | None = None
    left: LeftWork | None = None
    """What is graded in it; only of a rollout that only grades."""


class InSandbox(Contract):
    """An order with the sandbox that create returned."""

    order: Order
    sandbox_id: str


class SetUpResult(Contract):
    """What the sandbox now holds."""

    agent_version: str | None = None
    workdir: str
    """Where agent and tests run."""


class StartRequest(Contract):
    """An order to launch the agent in the work directory that set-up found."""

    order: Order
    sandbox_id: str
    workdir: str


class StartResult(Contract):
    """The agent runs, detached."""

    job_id: str
    """8 hex digits of the attempt: the SDK's job layout."""
    pid: int


class AwaitRequest(Contract):
    """Watch a job until it ends, its session ends, or the deadline comes."""

    order: Order
    sandbox_id: str
    deadline: UtcTime


class AwaitResult(Contract):
    """How the agent's run ended, before anybody stopped it."""

    stop_reason: StopReason
    exit_code: int | None = None
    """None: it was still running."""


class StopRequest(Contract):
    """End the session, then the agent."""

    order: Order
    sandbox_id: str | None = None
    """None: only the session is ended."""
    stop_reason: StopReason
    running: bool
    """Whether the agent may still run and has to be ended, with its process group."""
    collect: bool
    """Whether to keep its logs now, because no grading will."""


class StopResult(Contract):
    """What the agent left behind."""

    stop_reason: StopReason
    exit_code: int | None = None
    failure: Failure | None = None
    """Why this attempt cannot be graded although its agent ended: no model call, a lost turn."""
    artifacts: tuple[Artifact, ...] = ()


class KeepRequest(Contract):
    """Keep what the agent left as a checkpoint, with what grading it again has to know."""

    order: Order
    sandbox_id: str
    workdir: str
    stop_reason: StopReason
    agent_version: str | None = None
    agent_exit_code: int | None = None


class KeepResult(Contract):
    """The checkpoint, or why none is kept."""

    checkpoint: str | None = None
    error: str | None = None


class GradeRequest(Contract):
    """Run the task's tests on what the agent left."""

    order: Order
    sandbox_id: str
    workdir: str


class GradeResult(Contract):
    """The rewards, or the failure that kept the tests from giving any."""

    rewards: dict[str, float] = Field(default_factory=dict[str, float])
    failure: Failure | None = None
    artifacts: tuple[Artifact, ...] = ()


class SealRequest(Contract):
    """Turn the session into a trace; on the last attempt also write the result."""

    order: Order
    attempt: AttemptResult
    earlier: tuple[AttemptResult, ...] = ()
    last: bool
    status: Status
    rewards: dict[str, float] = Field(default_factory=dict[str, float])
    started_at: UtcTime
    """Of the rollout."""


class SealResult(Contract):
    """The attempt with its trace; the committed result where this was the last attempt."""

    attempt: AttemptResult
    result: RolloutResult | None = None


class DeleteRequest(Contract):
    """Make certain that no sandbox of this attempt is alive."""

    order: Order
    sandbox_id: str | None = None
    """None: create never reported; it may have been sent all the same."""
    create_sent: bool = True


class DeleteResult(Contract):
    """The ids that were deleted; none where none was found."""

    deleted: tuple[str, ...] = ()
