"""Every timeout, heartbeat and retry policy of the rollout workflow, each with its reason.

`start_to_close` bounds one try; where a stage has seconds of its own in the spec they are that
bound plus the slack of the transfers around them. No workflow timeout is ever set: it would end the
workflow without its cleanup.
"""

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityConfig

with workflow.unsafe.imports_passed_through():
    from rolldock.deadlines import TRANSFER_SLACK
    from rolldock.models import names
    from rolldock.models.spec import Limits
    from rolldock.models.stages import Pace

CREATE_HEARTBEAT: Final = timedelta(seconds=10)
"""A running create is cancelled by its heartbeat's answer, which comes within 0.8 of this."""

COLLECT: Final = timedelta(seconds=120)
"""What a failed attempt may spend on its last logs before its sandbox goes."""

_KEEP: Final = timedelta(minutes=5)
"""The copy of a sandbox's files; large ones are not worth more of an attempt's time."""
_KEEP_MARGIN_SECONDS: Final = 30.0
"""Left to the grade beside its own seconds."""
_LEAST_KEEP_SECONDS: Final = 5.0
"""With less no copy is begun."""

RETRY_CREATE: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=30),
    non_retryable_error_types=["AssertionError", "AttributeError", "TypeError", "ValidationError"],
)
"""Unlimited: waiting for quota is no failure. The activity itself gives up a create that has failed
transiently for `create_seconds`; an error in our own code is not waited out."""

RETRY_IN_PLACE: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=6,
)
"""About half a minute: a sandbox API that restarts; a dead sandbox fails at once by its cause."""

RETRY_AWAIT: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)
)
"""Unlimited under the stage's deadline: watching costs nothing and must outlive every worker."""

RETRY_CLEANUP: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=2)
)
"""Unlimited for hours: a leaked sandbox costs more than a workflow that waits."""

CLEANUP_TRY: Final = timedelta(minutes=10)
"""One try of a delete or a seal: it may have to wait until a create can no longer take effect."""

_CLEANUP_PRIORITY: Final = Priority(priority_key=1)
"""Before all other work: room under the quota comes from here."""


def create_sandbox(summary: str, limits: Limits, pace: Pace) -> ActivityConfig:
    """A cancel waits for the create's own end, so that its sandbox is known."""
    return ActivityConfig(
        summary=summary,
        task_queue=names.SANDBOX_QUEUE,
        start_to_close_timeout=timedelta(seconds=limits.create_seconds),
        schedule_to_close_timeout=timedelta(hours=pace.quota_hours),
        heartbeat_timeout=min(CREATE_HEARTBEAT, timedelta(seconds=pace.heartbeat_seconds)),
        retry_policy=RETRY_CREATE,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def set_up_sandbox(summary: str, limits: Limits, pace: Pace) -> ActivityConfig:
    """Cancelled without waiting: the delete ends what it left."""
    return _in_sandbox(summary, timedelta(seconds=limits.setup_seconds) + TRANSFER_SLACK, pace)


def start_agent(summary: str, pace: Pace) -> ActivityConfig:
    """A few transfers and one command."""
    return _in_sandbox(summary, TRANSFER_SLACK, pace)


def await_agent(summary: str, seconds: float, pace: Pace) -> ActivityConfig:
    """Bounded by the agent's deadline over all tries, and a little for the last look."""
    return ActivityConfig(
        summary=summary,
        schedule_to_close_timeout=timedelta(seconds=seconds) + TRANSFER_SLACK,
        heartbeat_timeout=timedelta(seconds=pace.heartbeat_seconds),
        retry_policy=RETRY_AWAIT,
    )


def stop_agent(summary: str, pace: Pace) -> ActivityConfig:
    """END and the kill; the logs come with the grade."""
    return _in_sandbox(summary, TRANSFER_SLACK, pace)


def collect(summary: str, pace: Pace) -> ActivityConfig:
    """The same stage after a failure: its logs are worth two minutes, no more."""
    return ActivityConfig(
        summary=summary,
        schedule_to_close_timeout=COLLECT,
        heartbeat_timeout=timedelta(seconds=pace.heartbeat_seconds),
        retry_policy=RETRY_IN_PLACE,
    )


def keep_seconds(left_seconds: float) -> float | None:
    """How long keeping may take of what the grade leaves; None: it leaves too little."""
    seconds = min(left_seconds - _KEEP_MARGIN_SECONDS, _KEEP.total_seconds())
    return seconds if seconds >= _LEAST_KEEP_SECONDS else None


def keep_workspace(summary: str, seconds: float, pace: Pace) -> ActivityConfig:
    """Bounded over all tries, since it comes out of the time of the grade."""
    return ActivityConfig(
        summary=summary,
        start_to_close_timeout=timedelta(seconds=seconds),
        schedule_to_close_timeout=timedelta(seconds=seconds),
        heartbeat_timeout=timedelta(seconds=pace.heartbeat_seconds),
        retry_policy=RETRY_IN_PLACE,
    )


def grade(summary: str, limits: Limits, pace: Pace) -> ActivityConfig:
    """Graded again while the sandbox lives; the agent is not asked twice."""
    return _in_sandbox(summary, timedelta(seconds=limits.grade_seconds) + TRANSFER_SLACK, pace)


def clean_up(summary: str, pace: Pace) -> ActivityConfig:
    """Seal and delete, waited for whatever is cancelled."""
    return ActivityConfig(
        summary=summary,
        start_to_close_timeout=CLEANUP_TRY,
        schedule_to_close_timeout=timedelta(hours=pace.cleanup_hours),
        heartbeat_timeout=timedelta(seconds=pace.heartbeat_seconds),
        retry_policy=RETRY_CLEANUP,
        priority=_CLEANUP_PRIORITY,
    )


def _in_sandbox(summary: str, one_try: timedelta, pace: Pace) -> ActivityConfig:
    return ActivityConfig(
        summary=summary,
        start_to_close_timeout=one_try,
        heartbeat_timeout=timedelta(seconds=pace.heartbeat_seconds),
        retry_policy=RETRY_IN_PLACE,
    )
