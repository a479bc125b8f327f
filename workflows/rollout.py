"""The rollout workflow: attempts, one after another, until there is a result."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows import story
from workflows.attempt import Attempt
from workflows.settle import is_cancelled

with workflow.unsafe.imports_passed_through():
    from rolldock.models import names
    from rolldock.models.failure import Cause
    from rolldock.models.result import AttemptResult, RolloutResult, Status
    from rolldock.models.stages import Order, RolloutRequest


@workflow.defn(name=names.ROLLOUT_WORKFLOW)
class RolloutWorkflow:
    """One rollout. Graded closes Completed, infrastructure failure Failed, cancel Canceled."""

    @workflow.init
    def __init__(self, request: RolloutRequest) -> None:
        self._request = request
        self._stop = False
        self._started_at = workflow.now()
        total = timedelta(seconds=request.spec.limits.total_seconds)
        self._deadline = self._started_at + total

    @workflow.signal(name=names.STOP_SIGNAL)
    def stop(self) -> None:
        """End the agent gracefully; what it has done so far is graded."""
        self._stop = True

    @workflow.run
    async def run(self, request: RolloutRequest) -> RolloutResult:
        """Carry out attempts until one is graded, or no other may follow."""
        earlier: tuple[AttemptResult, ...] = ()
        while True:
            attempt = Attempt(self._order(len(earlier) + 1), request.pace, lambda: self._stop)
            await attempt.carry_out()
            if attempt.existing is not None:
                story.mark_end(attempt.existing, clean=True)
                return self._close(attempt.existing)

            last = not self._may_follow(attempt, len(earlier) + 1)
            record, result, clean = await attempt.wind_up(
                last=last, earlier=earlier, started_at=self._started_at
            )
            if not last and is_cancelled():
                result, last = await attempt.commit(earlier, self._started_at), True
            if last:
                story.mark_end(result, clean)
                return self._close(result)
            earlier = (*earlier, record)

    def _order(self, number: int) -> Order:
        """A new attempt: its UUID is key, name, label and session of all that it makes."""
        info = workflow.info()
        return Order(
            rollout=self._request.spec.id,
            run=info.run_id,
            after_reset=info.run_id != info.first_execution_run_id,
            attempt=str(workflow.uuid4()),
            number=number,
            spec=self._request.spec,
            spec_digest=self._request.spec_digest,
            deadline=self._deadline,
        )

    def _may_follow(self, attempt: Attempt, number: int) -> bool:
        """Whether another attempt may follow this one."""
        if attempt.failure is None or not attempt.failure.retryable:
            return False
        if self._stop or is_cancelled():
            return False
        return number < self._request.spec.attempts and workflow.now() < self._deadline

    def _close(self, result: RolloutResult | None) -> RolloutResult:
        """Close as the committed result says, so that the UI's filters mean something."""
        if result is None:
            message = "the result could not be written"
            raise ApplicationError(message, type=Cause.STORE_UNAVAILABLE, non_retryable=True)
        story.tell_end(result)
        if result.status is Status.CANCELLED and is_cancelled():
            raise asyncio.CancelledError(story.verdict(result))
        if result.status is not Status.COMPLETED:
            cause = result.failure.cause if result.failure else Cause.INTERNAL
            raise ApplicationError(story.verdict(result), type=str(cause), non_retryable=True)
        return result
