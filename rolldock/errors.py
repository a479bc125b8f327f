"""The exceptions of Rolldock, named by who can mend them.

RolldockError                anything that we raise on purpose; its text is one line for a person
├── UsageError               what the caller gave cannot be used; the caller mends it
├── UnavailableError         a server that we need does not answer; its operator mends it
└── StageError               a stage of a rollout failed, with its cause
    └── TransientStageError  the same try may succeed later: Temporal retries it in place

How a stage error becomes a Temporal failure is in `activities/failures.py`; what follows from a
cause is the table in `rolldock/models/failure.py`.
"""

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
        """When the server said when to come back; None: the stage's own backoff."""
