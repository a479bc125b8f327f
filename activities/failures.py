"""The one place where a domain error becomes a Temporal failure, its type the cause.

What may be tried again, and after how long, is read from the table in `rolldock/errors.py`.
"""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from rolldock.errors import (
    RETRIES,
    StageError,
    TransientStageError,
    UnavailableError,
    UsageError,
)
from rolldock.models.failure import Cause

_MESSAGE_CHARACTERS: Final = 1500
_SPREAD: Final = 0.25
"""Thousands of rollouts that fail together do not come back together."""


@asynccontextmanager
async def as_failures() -> AsyncGenerator[None, None]:
    """Raise what happens inside as ApplicationErrors of type `Cause`.

    Transient errors are retried by the stage's policy, at the time that the server named where it
    named one; all others fail the stage at once. The chain of causes goes to the worker's log: with
    its stack traces it is larger than what Temporal keeps of a failure, which would lose the words.
    """
    try:
        yield
    except (StageError, UsageError, UnavailableError) as error:
        activity.logger.info("%s", error, exc_info=error)
        raise _failure(error) from None


def _failure(error: StageError | UsageError | UnavailableError) -> ApplicationError:
    said = str(error)[:_MESSAGE_CHARACTERS]
    match error:
        case TransientStageError():
            return _transient(said, error.cause, error.retry_after_seconds)
        case StageError():
            return ApplicationError(said, type=error.cause, non_retryable=True)
        case UsageError():
            return ApplicationError(said, type=Cause.TASK_INVALID, non_retryable=True)
        case UnavailableError():
            return _transient(said, Cause.STORE_UNAVAILABLE)


def _transient(
    said: str, cause: Cause, retry_after_seconds: float | None = None
) -> ApplicationError:
    backoff = RETRIES[cause].in_place
    if backoff is None:
        return ApplicationError(said, type=cause, non_retryable=True)
    least = retry_after_seconds
    if least is None:
        least = backoff.seconds(activity.info().attempt) * (1 - _SPREAD)
    delay = timedelta(seconds=least * random.uniform(1, 1 + 2 * _SPREAD))
    return ApplicationError(said, type=cause, next_retry_delay=delay)
