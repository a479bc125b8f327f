"""What an exception of the sandbox SDK means for a stage: one function reads the whole chain.

The SDK turns cancellations into APIError and leaves status codes only in the chain of causes, so
nobody else looks at its exceptions.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from prime_sandboxes import (
    APIError,
    APITimeoutError,
    CommandTimeoutError,
    DownloadTimeoutError,
    PaymentRequiredError,
    SandboxFileNotFoundError,
    SandboxImagePullError,
    SandboxNotRunningError,
    SandboxOOMError,
    SandboxTimeoutError,
    UnauthorizedError,
    UploadTimeoutError,
)

from rolldock.errors import RolldockError, StageError, TransientStageError
from rolldock.models.failure import Cause

_TIMEOUTS: Final = (
    APITimeoutError,
    CommandTimeoutError,
    DownloadTimeoutError,
    TimeoutError,
    UploadTimeoutError,
)
_GONE: Final = {
    SandboxOOMError: Cause.SANDBOX_OOM,
    SandboxTimeoutError: Cause.SANDBOX_EXPIRED,
    SandboxImagePullError: Cause.IMAGE_UNAVAILABLE,
    SandboxNotRunningError: Cause.SANDBOX_LOST,
}
"""In the order in which they are asked: the last is the base class of the others."""

RAISED: Final = (
    APIError,
    RuntimeError,
    TimeoutError,
    httpx.HTTPError,
    httpx.InvalidURL,
    ValueError,
)
"""What leaves the SDK: its own classes, and what it lets through: an answer that is no JSON or has
another shape (ValueError), a URL that it cannot use, a transport that gave up."""

_NOT_FOUND: Final = 404
_UNPROCESSABLE: Final = 422
_CLIENT_ERRORS: Final = range(400, 500)
_LONGEST_RETRY_AFTER_SECONDS: Final = 300.0
"""A delete that is told to wait for longer had better be asked again."""
_WORTH_A_RETRY: Final = frozenset({408, 409, 425, 429})


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def is_cancellation(error: BaseException) -> bool:
    """Whether the SDK reports that our own task was cancelled under its call."""
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False
    return any(
        isinstance(link, asyncio.CancelledError)
        or (isinstance(link, ConnectError) and link.code == Code.CANCELED)
        for link in _chain(error)
    )


def _response(error: BaseException) -> httpx.Response | None:
    for link in _chain(error):
        if isinstance(link, httpx.HTTPStatusError):
            return link.response
    return None


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an SDK exception; None: no response is in its chain."""
    response = _response(error)
    return None if response is None else response.status_code


def is_unknown_sandbox(error: BaseException) -> bool:
    """Whether the API knows no such sandbox: it was asked for access to one that is gone."""
    response = _response(error)
    if response is None or response.status_code != _NOT_FOUND:
        return False
    return response.request.url.path.endswith("/auth")


def is_absent_file(error: APIError) -> bool:
    """Whether a sandbox that is there has no such file."""
    if isinstance(error, SandboxFileNotFoundError):
        return True
    return status_of(error) == _NOT_FOUND and not is_unknown_sandbox(error)


def _retry_after_seconds(error: BaseException) -> float | None:
    """Seconds, or a date, as HTTP allows both."""
    response = _response(error)
    value = "" if response is None else response.headers.get("retry-after", "")
    if value.isdigit():
        return min(float(value[:9]), _LONGEST_RETRY_AFTER_SECONDS)
    try:
        seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER_SECONDS)


def stage_error(error: BaseException, otherwise: Cause) -> StageError:
    """The stage error that an SDK exception stands for; `otherwise` names what has no name."""
    for kind, cause in _GONE.items():
        if isinstance(error, kind):
            return StageError(cause, str(error))
    if isinstance(error, UnauthorizedError):
        return StageError(Cause.UNAUTHORIZED, f"the sandbox API refused the key: {error}")
    if isinstance(error, PaymentRequiredError):
        return StageError(Cause.PAYMENT_REQUIRED, f"the sandbox API wants payment: {error}")
    if is_unknown_sandbox(error):
        return StageError(Cause.SANDBOX_LOST, str(error))
    status = status_of(error)
    if status == _UNPROCESSABLE:
        about_image = "image" in str(error).lower()
        return StageError(
            Cause.IMAGE_UNAVAILABLE if about_image else Cause.SANDBOX_REFUSED, str(error)
        )
    if status in _CLIENT_ERRORS and status not in _WORTH_A_RETRY:
        return StageError(otherwise, str(error))
    if isinstance(error, _TIMEOUTS):
        return TransientStageError(otherwise, str(error) or "timed out")
    return TransientStageError(otherwise, str(error), _retry_after_seconds(error))


@asynccontextmanager
async def sandbox_faults(
    otherwise: Cause, *, not_found: Cause | None = None
) -> AsyncGenerator[None, None]:
    """Turn whatever the SDK raises inside into a stage error, and a swallowed cancel into one.

    Args:
        otherwise: the cause of a failure that the SDK gives no name to.
        not_found: the cause of a 404, for good; None: it is one of the others.

    Raises:
        StageError: the sandbox or its infrastructure failed.
        asyncio.CancelledError: our task was cancelled while the SDK was at work.
    """
    try:
        yield
    except RolldockError:
        raise
    except RAISED as error:
        if is_cancellation(error):
            raise asyncio.CancelledError from error
        if not_found is not None and status_of(error) == _NOT_FOUND:
            raise StageError(not_found, str(error)) from error
        raise stage_error(error, otherwise) from error
