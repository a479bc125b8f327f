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

_SPREAD: Final = 0.25
"""Thousands of rollouts that fail together do not come back together."""


@asynccontextmanager
async def as_failures() -> AsyncGenerator[None, None]:
    """Raise what happens inside as ApplicationErrors of type `Cause`.

    Transient errors are retried by the stage's policy, at the time that the server named where it
    named one; all others fail the stage at once.
    """
    try:
        yield
    except TransientStageError as error:
        raise _transient(error, error.cause, error.retry_after_seconds) from error
    except StageError as error:
        raise ApplicationError(str(error), type=error.cause, non_retryable=True) from error
    except UsageError as error:
        raise ApplicationError(str(error), type=Cause.TASK_INVALID, non_retryable=True) from error
    except UnavailableError as error:
        raise _transient(error, Cause.STORE_UNAVAILABLE) from error


def _transient(
    error: Exception, cause: Cause, retry_after_seconds: float | None = None
) -> ApplicationError:
    backoff = RETRIES[cause].in_place
    if backoff is None:
        return ApplicationError(str(error), type=cause, non_retryable=True)
    least = retry_after_seconds
    if least is None:
        least = backoff.seconds(activity.info().attempt) * (1 - _SPREAD)
    delay = timedelta(seconds=least * random.uniform(1, 1 + 2 * _SPREAD))
    return ApplicationError(str(error), type=cause, next_retry_delay=delay)
