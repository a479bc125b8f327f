"""Deleting what lives on a stack's own sandbox server, when the stack ends in order.

Only sandboxes that carry a deployment's label: what somebody made there by hand is theirs. Not the
reaper: it knows no workflows, since after this nobody is left to use a sandbox.
"""

import asyncio
from typing import Final

from rolldock.errors import StageError, UnavailableError
from rolldock.sandbox.client import Sandboxes

_BOUND_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.1


async def delete_live(base_url: str, api_key: str) -> int:
    """Delete them all and wait until they are gone. Returns how many there were.

    Raises:
        UnavailableError: the server does not answer, or some are still there at the end.
    """
    try:
        async with asyncio.timeout(_BOUND_SECONDS), Sandboxes.open(base_url, api_key) as sandboxes:
            return await _delete_until_gone(sandboxes)
    except StageError as error:
        raise UnavailableError(f"sandboxd at {base_url}: {error}") from error
    except TimeoutError as error:
        raise UnavailableError(
            f"sandboxd at {base_url}: some are alive {_BOUND_SECONDS:.0f} s after their deletion"
        ) from error


async def _delete_until_gone(sandboxes: Sandboxes) -> int:
    deleted: set[str] = set()
    while live := await _live(sandboxes):
        fresh = live - deleted
        await asyncio.gather(*(sandboxes.delete(identity) for identity in fresh))
        deleted |= fresh
        await asyncio.sleep(_POLL_SECONDS)
    return len(deleted)


async def _live(sandboxes: Sandboxes) -> set[str]:
    alive = await sandboxes.alive()
    return {sandbox.id for sandbox in alive if sandbox.owner.deployment is not None}
