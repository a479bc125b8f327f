"""The one place where a domain error becomes a Temporal failure, its type the cause."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.exceptions import ApplicationError

from rolldock.errors import StageError, TransientStageError, UnavailableError, UsageError
from rolldock.models.failure import Cause


@asynccontextmanager
async def as_failures() -> AsyncGenerator[None, None]:
    """Raise what happens inside as ApplicationErrors of type `Cause`.

    Transient errors are retried by the stage's policy, at the time that the server named where it
    named one; all others fail the stage at once.
    """
    try:
        yield
    except TransientStageError as error:
        raise ApplicationError(
            str(error),
            type=error.cause,
            next_retry_delay=_delay(error.retry_after_seconds),
        ) from error
    except StageError as error:
        raise ApplicationError(str(error), type=error.cause, non_retryable=True) from error
    except UsageError as error:
        raise ApplicationError(str(error), type=Cause.TASK_INVALID, non_retryable=True) from error
    except UnavailableError as error:
        raise ApplicationError(str(error), type=Cause.STORE_UNAVAILABLE) from error


def _delay(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
