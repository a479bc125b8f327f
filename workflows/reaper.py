"""The reaper: one sweep, started by a schedule or by hand. Its result is the report."""

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.reaping import ReapingActivities
    from rolldock.models import names
    from rolldock.models.reaping import SweepReport, SweepRequest
    from rolldock.sandbox.reaping import count_words

_SWEEP: Final = timedelta(minutes=30)
_HEARTBEAT: Final = timedelta(seconds=30)
_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=5,
)
"""The next sweep is a schedule's interval away: this one need not wait out an outage."""


@workflow.defn(name=names.REAPER_WORKFLOW)
class ReaperWorkflow:
    """One sweep over the deployment's sandboxes."""

    @workflow.run
    async def run(self, request: SweepRequest) -> SweepReport:
        """Sweep, and say what was done."""
        report = await workflow.execute_activity_method(
            ReapingActivities.sweep,
            request,
            start_to_close_timeout=_SWEEP,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            summary="Look for sandboxes and rollouts that nobody else will see to",
        )
        workflow.set_current_details(_words(report))
        return report


def _words(report: SweepReport) -> str:
    counts = count_words(report.counts) or "no sandboxes"
    seen = (
        f"{counts}; {report.n_results} rollouts ended without a result; "
        f"{report.n_checkpoints} expired checkpoints"
    )
    if report.dry_run:
        return f"{seen}; a dry run: nothing was deleted or written"
    return (
        f"{seen}; {report.n_deleted} deleted, {report.n_failed} could not be, "
        f"{report.n_deferred + report.n_checkpoints_deferred} left for the next sweep; "
        f"{report.n_undeleted} checkpoints could not be deleted; "
        f"recordings of {report.n_recordings} rollouts had expired, "
        f"those of {report.n_recordings_kept_back} more are kept back"
    )
