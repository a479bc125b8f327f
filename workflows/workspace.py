"""What an attempt keeps of its sandbox, so that its work can be graded again.

Keeping never fails an attempt: what went wrong is noted, and the grade goes on.
"""

from datetime import datetime
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from workflows import policies, story
from workflows.faults import failure_of
from workflows.settle import is_cancelled, settle

with workflow.unsafe.imports_passed_through():
    from activities.workspace import WorkspaceActivities
    from rolldock.models.failure import Cause, Failure
    from rolldock.models.result import Stage
    from rolldock.models.stages import KeepRequest, KeepResult, Order, Pace

_AFTER_FAILED_GRADE: Final = "keep-after-failed-grade"
"""A patch: rollouts that began before there were checkpoints do not keep any."""

_TOO_LATE: Final = "the time that was left belonged to the grade"

_NOTHING_LEFT: Final = frozenset(
    {
        Cause.CANCELLED,
        Cause.DEADLINE_EXCEEDED,
        Cause.SANDBOX_EXPIRED,
        Cause.SANDBOX_LOST,
        Cause.SANDBOX_OOM,
    }
)
"""Failures of a grade after which there is no sandbox, or nobody who would wait."""


class Workspace:
    """The checkpoint of one attempt."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.checkpoint: str | None = None
        self.error: str | None = None
        """Why there is none although one was to be."""

    async def keep(self, request: KeepRequest, until: datetime) -> None:
        """Before the grade, whose own seconds before `until` are left to it.

        Raises:
            ActivityError, CancelledError: the attempt is being cancelled; nothing else.
        """
        reserved = request.order.spec.limits.grade_seconds
        left = (until - workflow.now()).total_seconds() - reserved
        bound = policies.keep_seconds(left)
        if bound is None:
            self.error = _TOO_LATE
            return
        try:
            kept = await self._start(request, bound)
        except ActivityError as error:
            if is_cancelled() or is_cancelled_exception(error):
                raise
            self._note_failure(error)
        else:
            self._note(kept)

    async def keep_after(self, failed: Failure | None, request: KeepRequest) -> None:
        """After a grade that failed for its infrastructure, if the sandbox may still live."""
        if not self._is_worth_keeping(failed, request.order):
            return
        if not workflow.patched(_AFTER_FAILED_GRADE):
            return
        try:
            self._note(await settle(self._start(request, policies.COLLECT.total_seconds())))
        except ActivityError as error:
            self._note_failure(error)

    def _is_worth_keeping(self, failed: Failure | None, order: Order) -> bool:
        if failed is None or failed.stage != Stage.GRADE or failed.cause in _NOTHING_LEFT:
            return False
        return self.checkpoint is None and not order.spec.only_grades and not is_cancelled()

    def _start(self, request: KeepRequest, seconds: float) -> workflow.ActivityHandle[KeepResult]:
        return workflow.start_activity_method(
            WorkspaceActivities.keep_workspace,
            request,
            **policies.keep_workspace(story.keep(), seconds, self._pace),
        )

    def _note(self, kept: KeepResult) -> None:
        self.checkpoint, self.error = kept.checkpoint, kept.error

    def _note_failure(self, error: ActivityError) -> None:
        failed = failure_of(Stage.KEEP_WORKSPACE, error)
        self.error = f"{failed.cause}: {failed.message}"
