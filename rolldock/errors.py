"""The exceptions of Rolldock, named by who can mend them, and the one table of retries.

RolldockError                anything that we raise on purpose; its text is one line for a person
├── UsageError               what the caller gave cannot be used; the caller mends it
├── UnavailableError         a server that we need does not answer; its operator mends it
└── StageError               a stage of a rollout failed, with its cause
    └── TransientStageError  the same try may succeed later: Temporal retries it in place

`RETRIES` says per cause what may be tried again. How a stage error becomes a Temporal failure is
in `activities/failures.py`; what else follows from a cause is in `rolldock/models/failure.py`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from rolldock.models.failure import Cause


class RolldockError(Exception):
    """Raised when something failed that we can name; the message says what and how to mend it."""


class UsageError(RolldockError):
    """Raised when an argument, a file or a setting cannot be used as given."""


class UnavailableError(RolldockError):
    """Raised when Temporal, the sandbox API, the store or a model server does not answer."""


class StageError(RolldockError):
    """Raised when a stage failed for good within this attempt."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class TransientStageError(StageError):
    """Raised when the same try may succeed a little later, in the same sandbox."""

    def __init__(
        self, cause: Cause, message: str, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(cause, message)
        self.retry_after_seconds = retry_after_seconds
        """When the server said when to come back; None: the cause's own backoff."""


class Backoff(NamedTuple):
    """Seconds between the tries of a stage: the first, then doubled, at most the longest."""

    first_seconds: float
    longest_seconds: float

    def seconds(self, n_tries: int) -> float:
        """The wait after so many tries, counted from 1."""
        doublings = min(n_tries - 1, 16)
        return min(self.first_seconds * 2**doublings, self.longest_seconds)


class Retry(NamedTuple):
    """What may follow a failure of one cause."""

    in_place: Backoff | None
    """The same stage in the same sandbox, where the error is transient; None: never."""
    new_attempt: bool
    """A fresh sandbox and a fresh trace, once the stage has failed."""


_SOON: Final = Backoff(1, 10)
_CALMLY: Final = Backoff(1, 30)
_PATIENTLY: Final = Backoff(60, 300)

RETRIES: Final[Mapping[Cause, Retry]] = {
    # The provider's API is not well: a create is asked for again, under the same key.
    Cause.SANDBOX_UNAVAILABLE: Retry(_CALMLY, new_attempt=True),
    # Room comes when other rollouts end; waiting uses up no attempt.
    Cause.QUOTA: Retry(_PATIENTLY, new_attempt=False),
    # The sandbox may only be out of reach; one that is known to be gone is no transient error.
    Cause.SANDBOX_LOST: Retry(_SOON, new_attempt=True),
    Cause.SANDBOX_OOM: Retry(None, new_attempt=True),
    Cause.SANDBOX_EXPIRED: Retry(None, new_attempt=True),
    Cause.SETUP_FAILED: Retry(_SOON, new_attempt=True),
    Cause.JOB_LOST: Retry(_SOON, new_attempt=True),
    Cause.GATEWAY_LOST: Retry(None, new_attempt=True),
    Cause.TUNNEL_LOST: Retry(None, new_attempt=True),
    # Graded again while the sandbox lives; after that the agent has to work again.
    Cause.VERIFIER_FAILED: Retry(_SOON, new_attempt=True),
    Cause.STORE_UNAVAILABLE: Retry(_CALMLY, new_attempt=True),
    Cause.INTERNAL: Retry(_SOON, new_attempt=True),
    # What another try would only repeat.
    Cause.NO_MODEL_CALL: Retry(None, new_attempt=False),
    Cause.REWARD_INVALID: Retry(None, new_attempt=False),
    Cause.VERIFIER_TIMEOUT: Retry(None, new_attempt=False),
    Cause.TASK_INVALID: Retry(None, new_attempt=False),
    Cause.IMAGE_UNAVAILABLE: Retry(None, new_attempt=False),
    Cause.SANDBOX_REFUSED: Retry(None, new_attempt=False),
    Cause.UNAUTHORIZED: Retry(None, new_attempt=False),
    Cause.PAYMENT_REQUIRED: Retry(None, new_attempt=False),
    Cause.ENDPOINT_INVALID: Retry(None, new_attempt=False),
    Cause.DEADLINE_EXCEEDED: Retry(None, new_attempt=False),
    Cause.REPLAY_DIVERGED: Retry(None, new_attempt=False),
    Cause.REPLAY_UNAVAILABLE: Retry(None, new_attempt=False),
    Cause.CANCELLED: Retry(None, new_attempt=False),
    Cause.TERMINATED: Retry(None, new_attempt=False),
}
"""The one place that decides what is tried again. How often a stage is tried in place, and for
how long, is the stage's policy (`workflows/policies.py`); Retry-After wins over a backoff."""
