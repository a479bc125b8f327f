"""The reaper's one activity: a sweep over this deployment's sandboxes and unfinished records."""

from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client as Temporal

from activities.failures import as_failures
from activities.heartbeat import heartbeating
from activities.tools import Tools
from rolldock.models import names
from rolldock.models.reaping import REPORTED, SweepReport, SweepRequest, SweptSandbox, Verdict
from rolldock.sandbox.checkpoints_expiry import Expired, delete_expired, expired
from rolldock.sandbox.reaping import count, delete_orphans, judge
from rolldock.store.expiry import ExpiredRecordings, delete_expired_recordings
from rolldock.trainer.runs import Runs
from rolldock.trainer.unwritten import without_result, write_result


class ReapingActivities:
    """What is done about sandboxes and rollouts that nobody else will see to."""

    def __init__(self, tools: Tools, temporal: Temporal) -> None:
        self._tools = tools
        self._temporal = temporal
        self._runs = Runs(temporal)

    @activity.defn(name=names.SWEEP_ACTIVITY)
    async def sweep(self, request: SweepRequest) -> SweepReport:
        """Safe to run twice, or beside the rollouts: it acts on what is certainly over."""
        async with as_failures(), heartbeating():
            cap = request.cap or self._tools.settings.reap_cap
            judged = await self._judge(request)
            orphans = [one for one in judged if one.verdict is Verdict.ORPHAN]
            dealt_with = orphans[:cap]
            if not request.dry_run:
                dealt_with = await delete_orphans(
                    self._tools.sandboxes,
                    self._tools.store,
                    self._tools.deployment,
                    self._runs.state,
                    dealt_with,
                )
            results, unwritten = await self._write_results(cap, dry_run=request.dry_run)
            checkpoints, n_later = await self._delete_checkpoints(cap, dry_run=request.dry_run)
            recordings = await self._delete_recordings(cap, dry_run=request.dry_run)
            undeleted = [str(one) for one in checkpoints if one.error is not None]
            report = SweepReport(
                dry_run=request.dry_run,
                counts=count(judged),
                n_deleted=sum(one.deleted for one in dealt_with),
                n_failed=sum(one.error is not None for one in dealt_with),
                n_deferred=len(orphans) - len(dealt_with),
                swept=_worth_naming(judged, dealt_with),
                n_results=len(results),
                results=tuple(results[:REPORTED]),
                unwritten=tuple(unwritten[:REPORTED]),
                n_checkpoints=sum(one.is_over for one in checkpoints),
                n_checkpoints_deferred=n_later,
                undeleted=tuple(undeleted[:REPORTED]),
                n_undeleted=len(undeleted),
                n_recordings=recordings.n_deleted,
                n_recordings_kept_back=recordings.n_kept_back,
            )
            _measure(report)
            return report

    async def _judge(self, request: SweepRequest) -> list[SweptSandbox]:
        grace = request.grace_seconds
        return await judge(
            self._tools.sandboxes,
            self._tools.deployment,
            self._runs.state,
            self._tools.settings.grace_seconds if grace is None else grace,
        )

    async def _write_results(self, cap: int, *, dry_run: bool) -> tuple[list[str], list[str]]:
        """Rollouts that have a result now (or would have), and those that could not get one."""
        written: list[str] = []
        failed: list[str] = []
        async for ended in without_result(self._temporal, self._tools.store):
            error = None
            if not dry_run:
                error = await write_result(self._temporal, self._tools.store, ended)
            if error is None:
                written.append(ended.id)
            else:
                failed.append(error)
            if len(written) >= cap:
                break
        return written, failed

    async def _delete_checkpoints(self, cap: int, *, dry_run: bool) -> tuple[list[Expired], int]:
        """What became (or would become) of expired checkpoints, and how many the cap left."""
        now = datetime.now(UTC)
        found = await expired(self._tools.store, self._tools.deployment, now)
        dealt_with = await delete_expired(
            self._tools.sandboxes, self._tools.store, self._runs.state, found, cap, dry_run=dry_run
        )
        return dealt_with, len(found) - len(dealt_with)

    async def _delete_recordings(self, cap: int, *, dry_run: bool) -> ExpiredRecordings:
        """What became of recordings past their lifetime."""
        days = self._tools.settings.recording_days
        if dry_run or not days:
            return ExpiredRecordings()
        # Less than a day would meet seals that are still being retried.
        before = datetime.now(UTC) - timedelta(days=max(1, days))
        return await delete_expired_recordings(self._tools.store, self._runs.is_open, before, cap)


def _worth_naming(
    judged: list[SweptSandbox], dealt_with: list[SweptSandbox]
) -> tuple[SweptSandbox, ...]:
    """What was done, and what a person may have to look at; the rest is in the counts."""
    unknown = [one for one in judged if one.verdict is Verdict.UNKNOWN]
    failed = [one for one in dealt_with if one.error is not None]
    done = [one for one in dealt_with if one.error is None]
    return tuple([*failed, *unknown, *done][:REPORTED])


def _measure(report: SweepReport) -> None:
    """Metrics of a sweep; on a dry run nothing has happened."""
    if report.dry_run:
        return
    meter = activity.metric_meter()
    alive = report.n_failed + report.n_deferred
    meter.create_gauge(
        "rolldock_orphaned_sandboxes", "Alive without an open rollout after the last sweep"
    ).set(alive)
    meter.create_counter("rolldock_reaped_sandboxes", "Deleted by the reaper").add(report.n_deleted)
