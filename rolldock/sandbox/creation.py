"""Creating an attempt's sandbox, so that whatever becomes of the call nothing is lost.

A mark goes to the store before the request, and the tombstone is looked for after the mark: a
delete, which writes the tombstone and then looks for the mark, either sees that a request may have
been sent or is seen before one is. `deletion.py` is the other half.
"""

import asyncio
from typing import Final

from rolldock.errors import StageError, TransientStageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes, SandboxRequest
from rolldock.sandbox.labels import Ownership
from rolldock.store import keys
from rolldock.store.store import Store

_QUOTA_RETRY_SECONDS: Final = 60.0


class CreateRefused(StageError):
    """Raised when the provider refused a create for good; no sandbox came of this call."""


async def create_sandbox(
    sandboxes: Sandboxes, store: Store, request: SandboxRequest, max_live: int
) -> str:
    """The id of the attempt's running sandbox, made now or by an earlier try.

    A cancel while the request is out waits for its answer and returns the id all the same: whoever
    cancelled deletes by id what a listing might not show yet. The caller tells such a return by the
    cancel; its sandbox may not run yet.

    Raises:
        CreateRefused: the provider refused, and certainly made nothing in this call.
        StageError: given up (`cancelled`), transient, or made and never ran.
    """
    if not await _was_sent(store, request.attempt):
        await _check_quota(sandboxes, request.owner, max_live)
        await store.create(keys.create_sent(request.attempt), b"")
    await _check_tombstone(store, request.attempt)
    creation = asyncio.ensure_future(_create(sandboxes, store, request))
    try:
        sandbox_id = await asyncio.shield(creation)
        await sandboxes.wait_until_running(sandbox_id)
    except asyncio.CancelledError:
        return await creation
    return sandbox_id


async def _create(sandboxes: Sandboxes, store: Store, request: SandboxRequest) -> str:
    """The request with its second look at the tombstone: one step, which no cancel may split.

    A worker that was stalled is cancelled as soon as it is back, when its attempt may be over and
    nobody else would look for what it makes.
    """
    try:
        sandbox_id = await sandboxes.create(request)
    except TransientStageError:
        raise
    except StageError as error:
        raise CreateRefused(error.cause, str(error)) from error
    await _delete_if_given_up(sandboxes, store, request.attempt, sandbox_id)
    return sandbox_id


async def _was_sent(store: Store, attempt: str) -> bool:
    return await store.get(keys.create_sent(attempt)) is not None


async def _check_quota(sandboxes: Sandboxes, owner: Ownership, max_live: int) -> None:
    live = await sandboxes.count(Ownership(deployment=owner.deployment))
    if live >= max_live:
        raise TransientStageError(
            Cause.QUOTA,
            f"{live} sandboxes of this deployment are alive, the limit is {max_live} "
            "(ROLLDOCK_MAX_LIVE_SANDBOXES): waiting for room",
            _QUOTA_RETRY_SECONDS,
        )


async def _check_tombstone(store: Store, attempt: str) -> None:
    if await store.get(keys.tombstone(attempt)) is not None:
        raise StageError(Cause.CANCELLED, f"attempt {attempt} was given up before its create")


async def _delete_if_given_up(
    sandboxes: Sandboxes, store: Store, attempt: str, sandbox_id: str
) -> None:
    """Undo a create that took effect after the attempt was given up."""
    try:
        await _check_tombstone(store, attempt)
    except StageError:
        await sandboxes.delete(sandbox_id)
        raise
