"""When an attempt must be over: counted from its create, which may have waited long for room.

Workflow and activity use the same rule, each with its own clock.
"""

from datetime import datetime, timedelta
from typing import Final

from rolldock.models.spec import GRADE_RESERVE_SECONDS, Limits

TRANSFER_SLACK: Final = timedelta(seconds=120)
"""Uploads and downloads around a stage's command, on a slow link."""


def attempt_seconds(limits: Limits) -> float:
    """The longest that an attempt may take from its create: all its stages, at most the total."""
    stages = (
        limits.create_seconds + limits.setup_seconds + limits.agent_seconds + limits.grade_seconds
    )
    return min(stages + 4 * TRANSFER_SLACK.total_seconds(), limits.total_seconds)


def attempt_deadline(limits: Limits, now: datetime, latest: datetime) -> datetime:
    """The end of an attempt whose create begins or has just ended; `latest` is the rollout's."""
    return min(now + timedelta(seconds=attempt_seconds(limits)), latest)


def agent_deadline(limits: Limits, now: datetime, latest: datetime) -> datetime:
    """When an agent that starts now is stopped, so that there is time to grade before `latest`."""
    reserve = timedelta(seconds=limits.grade_seconds + GRADE_RESERVE_SECONDS)
    return min(now + timedelta(seconds=limits.agent_seconds), latest - reserve)
