"""What the gateway itself refuses, as a status, a code and a sentence for the agent.

The shape of an error on the wire belongs to the dialects. What a model server refuses is recorded
in the session log and is no exception.
"""

from rolldock.errors import RolldockError
from rolldock.models.session import EndClaim, EndReason


class RefusedError(RolldockError):
    """Raised when a request gets an error from the gateway instead of a turn."""

    def __init__(
        self, status: int, code: str, message: str, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.kind = kind
        """The `type` of an OpenAI error."""


BUDGETS = frozenset(
    {
        EndReason.MAX_TURNS,
        EndReason.TOKEN_BUDGET,
        EndReason.CONTEXT_LENGTH,
        EndReason.AGENT_TIMEOUT,
    }
)
"""Ends that let claimed calls finish."""


def ended(end: EndClaim) -> RefusedError:
    """What every request gets after END; no client retries it."""
    if end.reason in BUDGETS:
        return RefusedError(
            400, end.reason.value, f"rollout stopped: {end.reason}", "rolldock_budget"
        )
    return RefusedError(
        403, "session_ended", f"this session has ended: {end.reason}", "rolldock_session"
    )
