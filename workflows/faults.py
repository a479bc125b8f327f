"""From a Temporal failure to the failure of an attempt."""

from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

with workflow.unsafe.imports_passed_through():
    from rolldock.errors import RETRIES
    from rolldock.models import names
    from rolldock.models.failure import Cause, Failure
    from rolldock.models.result import Stage

_MESSAGE_CHARACTERS: Final = 2000

_BY_TIMEOUT: Final = {
    Stage.CREATE_SANDBOX: Cause.SANDBOX_UNAVAILABLE,
    Stage.SET_UP_SANDBOX: Cause.SETUP_FAILED,
    Stage.START_AGENT: Cause.SETUP_FAILED,
    Stage.AWAIT_AGENT: Cause.JOB_LOST,
    Stage.STOP_AGENT: Cause.SANDBOX_LOST,
    Stage.KEEP_WORKSPACE: Cause.SANDBOX_UNAVAILABLE,
    Stage.GRADE: Cause.VERIFIER_FAILED,
}
"""What it means that a stage ran out of time or of workers."""


def failure_of(stage: Stage, error: ActivityError) -> Failure:
    """The failure that an activity's error stands for."""
    origin = error.cause
    if isinstance(origin, ApplicationError):
        known = Cause.__members__.values()
        cause = next((cause for cause in known if cause == origin.type), Cause.INTERNAL)
        said = origin.message
        message = said if cause is not Cause.INTERNAL else f"{origin.type}: {said}"
    elif isinstance(origin, TimeoutError):
        cause, message = _BY_TIMEOUT.get(stage, Cause.INTERNAL), f"{stage} ran out of time"
        last = origin.cause
        if isinstance(last, ApplicationError):
            cause = Cause.QUOTA if last.type == Cause.QUOTA else cause
            message = f"{message}; its last try: {last.message}"
    else:
        cause, message = Cause.INTERNAL, str(origin or error)
    return failure(stage, cause, message)


def failure(stage: Stage, cause: Cause, message: str) -> Failure:
    """A failure whose `retryable` follows from its cause."""
    return Failure(
        stage=stage,
        cause=cause,
        message=message[:_MESSAGE_CHARACTERS],
        retryable=RETRIES[cause].new_attempt,
    )


def attempt_over(stage: Stage) -> Failure:
    """The failure of an attempt whose own seconds are over, tries of its stages included."""
    message = "the seconds of this attempt's stages, with their slack, were over"
    return failure(stage, _BY_TIMEOUT.get(stage, Cause.INTERNAL), message)


def was_refused(error: ActivityError) -> bool:
    """Whether a failed create certainly made nothing."""
    return isinstance(error.cause, ApplicationError) and names.DETAIL_REFUSED in error.cause.details
