"""What the sandbox API says of many jobs in one request, and what a failed request means for each.

It gathers nobody and waits for nothing; `JobWatch` does.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeAlias

from prime_sandboxes import BackgroundJob

from rolldock.errors import StageError, TransientStageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.faults import RAISED, is_cancellation, stage_error, status_of
from rolldock.sandbox.jobs import revive_command

MOST_JOBS: Final = 100
"""The API's limit for one request."""

Key: TypeAlias = tuple[str, str]
"""Sandbox id and job id."""
Answer: TypeAlias = int | StageError | None
"""The exit code of a job; None while it runs; or why neither can be said."""

_FOR_ALL: Final = frozenset({None, 401, 402, 408, 429, 502, 503, 504})
"""HTTP statuses (None: no answer) that are no one job's fault: asking for each would be a storm."""
_REVIVE_SECONDS: Final = 20
_LOST: Final = ("lost", "without recording")
"""What the provider's word on a job says when no exit code will ever come."""


async def job_statuses(
    sandboxes: Sandboxes, jobs: Sequence[BackgroundJob], seconds: float
) -> dict[Key, Answer]:
    """The state of each job, at most MOST_JOBS.

    Args:
        seconds: for one request with all that the SDK does to repeat it; a hung API hangs nobody.
    """
    try:
        async with asyncio.timeout(seconds):
            found = await sandboxes.sdk.get_background_job_statuses(list(jobs))
    except RAISED as error:
        if is_cancellation(error):
            raise asyncio.CancelledError from error
        if len(jobs) > 1:
            return await _apart(sandboxes, jobs, error, seconds)
        return {key_of(jobs[0]): await _explain(sandboxes, jobs[0], error, seconds)}
    return {
        (status.sandbox_id, status.job_id): status.exit_code if status.completed else None
        for status in found
    }


def key_of(job: BackgroundJob) -> Key:
    """The key under which a job is answered."""
    return job.sandbox_id, job.job_id


async def _apart(
    sandboxes: Sandboxes, jobs: Sequence[BackgroundJob], error: Exception, seconds: float
) -> dict[Key, Answer]:
    """One request failed for all: whom it names are asked alone, the others together again."""
    said = str(error)
    alone = [job for job in jobs if job.job_id in said]
    alone = alone or [job for job in jobs if job.sandbox_id in said]
    rest = [job for job in jobs if job not in alone]
    if not alone and status_of(error) in _FOR_ALL:
        return {key_of(job): _no_word(job, error) for job in jobs}
    groups = [[job] for job in alone or rest]
    if alone and rest:
        groups.append(rest)
    answers = await asyncio.gather(*(job_statuses(sandboxes, group, seconds) for group in groups))
    return {key: answer for some in answers for key, answer in some.items()}


async def _explain(
    sandboxes: Sandboxes, job: BackgroundJob, error: Exception, seconds: float
) -> StageError | None:
    """Why a job has no status: its sandbox is gone, it is lost, or nobody can say now.

    None: it runs, and has a status again.
    """
    try:
        async with asyncio.timeout(seconds):
            if await sandboxes.status(job.sandbox_id) is None:
                return await _epitaph(sandboxes, job.sandbox_id)
            is_lost = str(error).startswith("Background job") and any(
                word in str(error) for word in _LOST
            )
            if is_lost and await _revived(sandboxes, job):
                return None
    except (StageError, TimeoutError):
        return _no_word(job, error)
    if is_lost:
        return StageError(Cause.JOB_LOST, f"job {job.job_id}: {error}")
    return TransientStageError(Cause.JOB_LOST, f"job {job.job_id}: {error}")


async def _revived(sandboxes: Sandboxes, job: BackgroundJob) -> bool:
    """Whether a job that is said to be lost lives, and only its files were removed."""
    found = await sandboxes.run(
        job.sandbox_id,
        revive_command(job.job_id),
        timeout_seconds=_REVIVE_SECONDS,
        otherwise=Cause.JOB_LOST,
    )
    return found.stdout.strip() != ""


async def _epitaph(sandboxes: Sandboxes, sandbox_id: str) -> StageError:
    """What a command says of a sandbox that has ended: the SDK asks the API for the reason."""
    try:
        await sandboxes.run(sandbox_id, "true", timeout_seconds=10, otherwise=Cause.SANDBOX_LOST)
    except TransientStageError as error:
        return StageError(Cause.SANDBOX_LOST, str(error))
    except StageError as error:
        return error
    return TransientStageError(Cause.SANDBOX_LOST, f"sandbox {sandbox_id} is unsteady")


def _no_word(job: BackgroundJob, error: Exception) -> StageError:
    """What a request that failed means for a job of which it said nothing."""
    if isinstance(error, TimeoutError):
        return TransientStageError(Cause.JOB_LOST, f"job {job.job_id}: the API did not answer")
    return stage_error(error, Cause.JOB_LOST)
