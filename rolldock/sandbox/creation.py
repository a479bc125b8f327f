"""Creating an attempt's sandbox, so that whatever becomes of the call nothing is lost.

A mark goes to the store before the request, and the tombstone is looked for after the mark: a
delete, which writes the tombstone and then looks for the mark, either sees that a request may have
been sent or is seen before one is. `deletion.py` is the other half.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from rolldock.errors import StageError, TransientStageError
from rolldock.models.base import Record, UtcTime
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes, SandboxRequest
from rolldock.sandbox.labels import Ownership
from rolldock.store import keys
from rolldock.store.store import Store

_OVERTIME: Final = 2
"""Times the patience: a sandbox that was made before its worker died is still taken up so long."""


class CreateRefused(StageError):
    """Raised when the provider refused a create for good; no sandbox came of this call."""


class CreateMark(Record):
    """That a create may have been sent: when the first one was about to be, and for which tunnel.

    The tunnel is no setting: it changes by itself, and a key must not come with another request.
    """

    written_at: UtcTime
    tunnel_url: str | None = None
    """`SandboxRequest.tunnel_url` of the first request, and so of every other."""


async def create_sandbox(
    sandboxes: Sandboxes, store: Store, request: SandboxRequest, *, max_live: int, seconds: float
) -> str:
    """The id of the attempt's running sandbox, made now or by an earlier try.

    A cancel while the request is out waits for its answer and returns the id all the same: whoever
    cancelled deletes by id what a listing might not show yet. The caller tells such a return by the
    cancel; its sandbox may not run yet.

    Args:
        seconds: how long creates of this attempt may fail transiently, all tries together.

    Raises:
        CreateRefused: the provider refused, and certainly made nothing in this call.
        StageError: given up (`cancelled`), transient, out of patience, or made and never ran.
    """
    mark = await _read_mark(store, request.attempt)
    if mark is None:
        await _check_quota(sandboxes, request.owner, max_live)
        mark = await _mark(store, request)
    elif (waited := _waited_seconds(mark.written_at)) >= _OVERTIME * seconds:
        # Tries that hung until their own timeout never came to the rule below.
        message = f"no sandbox ran within {waited:.0f} s of tries"
        raise StageError(Cause.SANDBOX_UNAVAILABLE, message)
    await _check_tombstone(store, request.attempt)
    request = request.model_copy(update={"tunnel_url": mark.tunnel_url})
    try:
        return await _create_and_wait(sandboxes, store, request)
    except TransientStageError as error:
        waited = _waited_seconds(mark.written_at)
        if waited < seconds:
            raise
        raise StageError(error.cause, f"after {waited:.0f} s of tries: {error}") from error


async def tunnel_of(store: Store, attempt: str) -> str | None:
    """The tunnel that an attempt's sandbox was allowed; None: none was, or no create was sent."""
    mark = await _read_mark(store, attempt)
    return None if mark is None else mark.tunnel_url


def _waited_seconds(sent_at: datetime) -> float:
    return (datetime.now(UTC) - sent_at).total_seconds()


async def _create_and_wait(sandboxes: Sandboxes, store: Store, request: SandboxRequest) -> str:
    creation = asyncio.ensure_future(_create(sandboxes, store, request))
    try:
        sandbox_id, runs = await asyncio.shield(creation)
        await sandboxes.wait_until_running(sandbox_id, said_to_run=runs)
    except asyncio.CancelledError:
        return (await creation)[0]
    return sandbox_id


async def _create(sandboxes: Sandboxes, store: Store, request: SandboxRequest) -> tuple[str, bool]:
    """The request with its second look at the tombstone: one step, which no cancel may split.

    A worker that was stalled is cancelled as soon as it is back, when its attempt may be over and
    nobody else would look for what it makes.
    """
    try:
        sandbox_id, runs = await sandboxes.create(request)
    except TransientStageError:
        raise
    except StageError as error:
        raise CreateRefused(error.cause, str(error)) from error
    await _delete_if_given_up(sandboxes, store, request.attempt, sandbox_id)
    return sandbox_id, runs


async def _read_mark(store: Store, attempt: str) -> CreateMark | None:
    """The mark of the first create; None: none was sent."""
    found = await store.get(keys.create_sent(attempt))
    return None if found is None else CreateMark.model_validate_json(found)


async def _mark(store: Store, request: SandboxRequest) -> CreateMark:
    """Write the mark, or find the one of another try that was first."""
    mark = CreateMark(written_at=datetime.now(UTC), tunnel_url=request.tunnel_url)
    content = mark.model_dump_json(exclude_none=True).encode()
    if await store.create(keys.create_sent(request.attempt), content):
        return mark
    return await _read_mark(store, request.attempt) or mark


async def _check_quota(sandboxes: Sandboxes, owner: Ownership, max_live: int) -> None:
    live = await sandboxes.count(Ownership(deployment=owner.deployment))
    if live >= max_live:
        raise TransientStageError(
            Cause.QUOTA,
            f"{live} sandboxes of this deployment are alive, the limit is {max_live} "
            "(ROLLDOCK_MAX_LIVE_SANDBOXES): waiting for room",
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
