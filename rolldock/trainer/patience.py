"""Waiting for a Temporal that is restarted or has too much to do: rollouts go on without us.

The SDK retries for about ten seconds by itself; a server that is upgraded stays away longer.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from temporalio.service import RPCError, RPCStatusCode
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from rolldock.errors import RolldockError, UnavailableError, UsageError

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 300.0
_LONGEST_WAIT_SECONDS: Final = 5.0
_TRANSIENT: Final = frozenset(
    {
        RPCStatusCode.ABORTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
    }
)


def is_transient(error: BaseException) -> bool:
    """Whether Temporal may answer the same call a little later."""
    return isinstance(error, RPCError) and error.status in _TRANSIENT


def refusal(error: RPCError, rollout: str) -> RolldockError:
    """What no patience mends, as the error that a caller is promised."""
    kind = UsageError if error.status is RPCStatusCode.INVALID_ARGUMENT else UnavailableError
    return kind(
        f"Temporal refuses what was asked of rollout {rollout!r} "
        f"({error.status.name.lower()}): {error.message}"
    )


async def patiently(call: Callable[[], Awaitable[T]], rollout: str) -> T:
    """What a call returns, made again while Temporal does not answer; it must bear that.

    Raises:
        UsageError: Temporal does not take what it was asked for.
        UnavailableError: Temporal stayed away; the message says that the rollout goes on. Or it
            refuses whatever is asked, such as for the lack of a permission.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT_SECONDS),
        stop=stop_after_delay(_PATIENCE_SECONDS),
        reraise=True,
    )

    async def once() -> T:
        # The library awaits only what it sees to be a coroutine function, which no lambda is.
        return await call()

    try:
        return await retrying(once)
    except RPCError as error:
        if not is_transient(error):
            raise refusal(error, rollout) from error
        raise UnavailableError(
            f"Temporal has not answered for {_PATIENCE_SECONDS:g} s: the rollout {rollout!r} goes "
            "on without us if it was started, ask for it again later"
        ) from error
