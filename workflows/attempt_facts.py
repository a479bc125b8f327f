"""What one attempt knows so far, and what follows from how it ended: its record, its status.

Starts no activity; the stages are in `attempt.py`.
"""

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from workflows.faults import attempt_over, failure, failure_of
from workflows.settle import is_cancelled
from workflows.workspace import Workspace

with workflow.unsafe.imports_passed_through():
    from rolldock.models.failure import Cause, Failure
    from rolldock.models.result import (
        Artifact,
        AttemptResult,
        RolloutResult,
        Stage,
        Status,
        StopReason,
    )
    from rolldock.models.stages import KeepRequest, LeftWork, Order, Pace, StopRequest
    from rolldock.models.trace import TraceSummary


class AttemptFacts:
    """The state of one attempt."""

    def __init__(self, order: Order, pace: Pace) -> None:
        self._order = order
        self._pace = pace
        self._started_at = workflow.now()
        self._deadline = order.deadline
        self._stage = Stage.CREATE_SANDBOX
        self._timings: dict[str, float] = {}
        self._create_sent = True
        self._sandbox_id: str | None = None
        self._workdir = ""
        self._agent_version: str | None = None
        self._running = False
        self._collected = False
        self._stop_reason = StopReason.INFRASTRUCTURE
        self._ended_by = StopReason.INFRASTRUCTURE
        self._exit_code: int | None = None
        self._trace: TraceSummary | None = None
        self._trace_error: str | None = None
        self._workspace = Workspace(pace)
        self._rewards: dict[str, float] = {}
        self._artifacts: tuple[Artifact, ...] = ()
        self.failure: Failure | None = None
        """Why there is no reward; None once graded."""
        self.existing: RolloutResult | None = None
        """The result that this rollout already had: nothing was created."""

    def _fail(self, error: ActivityError) -> None:
        # A try that fails after a cancel is not tried again, whatever its error is.
        if is_cancelled() or is_cancelled_exception(error):
            self._interrupt()
        else:
            self.failure = failure_of(self._stage, error)
            self._stop_reason = StopReason.INFRASTRUCTURE

    def _interrupt(self) -> None:
        """A cancel, the attempt's own deadline or the rollout's, whichever it was."""
        self._rewards = {}
        if is_cancelled():
            reason = workflow.cancellation_reason()
            said = f"cancelled: {reason}" if reason else "cancelled"
            self.failure = failure(self._stage, Cause.CANCELLED, said)
            self._stop_reason = StopReason.CANCELLED
        elif self._order.deadline <= workflow.now() < self._deadline:
            self.failure = attempt_over(self._stage)
            self._stop_reason = StopReason.INFRASTRUCTURE
        else:
            total = self._order.spec.limits.total_seconds
            message = f"the rollout's total of {total:g} s was over, or left none for this stage"
            self.failure = failure(self._stage, Cause.DEADLINE_EXCEEDED, message)
            self._stop_reason = StopReason.INFRASTRUCTURE

    def _status(self) -> Status:
        if self.failure is None:
            return Status.COMPLETED
        return Status.CANCELLED if self.failure.cause is Cause.CANCELLED else Status.FAILED

    def _record(self) -> AttemptResult:
        return AttemptResult(
            attempt=self._order.attempt,
            number=self._order.number,
            sandbox_id=self._sandbox_id,
            stage=self._stage,
            stop_reason=self._stop_reason,
            agent_version=self._agent_version,
            agent_exit_code=self._exit_code,
            failure=self.failure,
            trace=self._trace,
            trace_error=self._trace_error,
            artifacts=self._artifacts,
            checkpoint=self._workspace.checkpoint,
            checkpoint_error=self._workspace.error,
            started_at=self._started_at,
            timings=self._timings,
        )

    def _stop_request(self, *, collect: bool) -> StopRequest:
        return StopRequest(
            order=self._order,
            sandbox_id=self._sandbox_id,
            stop_reason=self._stop_reason,
            running=self._running,
            collect=collect,
        )

    def _keep_request(self) -> KeepRequest:
        return KeepRequest(
            order=self._order,
            sandbox_id=self._sandbox(),
            workdir=self._workdir,
            stop_reason=self._ended_by,
            agent_version=self._agent_version,
            agent_exit_code=self._exit_code,
        )

    def _take_up(self, left: LeftWork) -> None:
        """An earlier agent's work is graded: its end, its version and its trace are this one's."""
        self._workdir, self._agent_version = left.workdir, left.agent_version
        self._stop_reason, self._exit_code = left.stop_reason, left.agent_exit_code
        self._trace, self._trace_error = left.trace, left.trace_error

    def _sandbox(self) -> str:
        assert self._sandbox_id is not None, "a stage after create has a sandbox"
        return self._sandbox_id
