"""Keeping what an agent left as a checkpoint of its sandbox, and taking it up again.

A checkpoint has no label, no idempotency key and no list of all: `list_checkpoints` needs the id of
a sandbox, which nobody lists any more once it has ended. So the ledger is written before a
checkpoint is asked for. Deleting what has expired is in `checkpoints_expiry.py`.
"""

import asyncio
from datetime import UTC, datetime

from prime_sandboxes import SandboxCheckpoint

from rolldock.errors import StageError
from rolldock.models.checkpoint import CheckpointAsked, CheckpointGone, CheckpointMade
from rolldock.models.failure import Cause
from rolldock.models.stages import LeftWork
from rolldock.results import read_result
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.faults import sandbox_faults
from rolldock.store import keys
from rolldock.store.store import Store

_DURABLE = "DURABLE"
_LOST = frozenset({"FAILED", "DELETING"})
"""States from which no checkpoint becomes durable."""


async def keep_workspace(
    sandboxes: Sandboxes, store: Store, asked: CheckpointAsked, seconds: float
) -> CheckpointMade:
    """The attempt's checkpoint: the one that an earlier try made, or a new one.

    Safe to run twice: whatever an earlier try asked for is found by its sandbox and waited for.
    Two tries at once may make two; one is named, and both are deleted by the sandbox's id.

    Args:
        asked: goes into the ledger first; where an earlier try has written, its word stands.
        seconds: how long the copy may take.

    Raises:
        StageError: the provider failed; transient where another try may do.
        UnavailableError: the store failed.
    """
    made = await read_made(store, asked.attempt)
    if made is not None:
        return made
    is_first = await store.create(
        keys.checkpoint_asked(asked.attempt), asked.model_dump_json(exclude_none=True).encode()
    )
    found = None if is_first else await _under_way(sandboxes, asked.sandbox_id)
    if found is None:
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE, not_found=Cause.SANDBOX_LOST):
            found = await sandboxes.sdk.checkpoint(asked.sandbox_id)
    if found.state != _DURABLE:
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE, not_found=Cause.SANDBOX_LOST):
            found = await sandboxes.sdk.wait_for_checkpoint(found.id, timeout_seconds=seconds)
    made = CheckpointMade(
        checkpoint_id=found.id, made_at=datetime.now(UTC), n_bytes=found.occupied_bytes
    )
    content = made.model_dump_json(exclude_none=True).encode()
    await store.create(keys.checkpoint_made(asked.attempt), content)
    return await read_made(store, asked.attempt) or made


async def take_up(store: Store, attempt: str, now: datetime | None) -> tuple[str, LeftWork]:
    """The checkpoint of an earlier attempt, and what its agent left in it.

    Args:
        now: refuse one that has expired by then; None: a replay that was started in time keeps it
            from being deleted, however long it waits.

    Raises:
        StageError: `replay_unavailable`: there is none, it has expired or was deleted, or the
            attempt's rollout has no result yet.
        UnavailableError: the store failed.
    """
    asked, made, gone = await asyncio.gather(
        read_asked(store, attempt),
        read_made(store, attempt),
        store.get(keys.checkpoint_gone(attempt)),
    )
    if asked is None or made is None:
        tried = "" if asked is None else ": one was asked for and never came to be"
        raise _unavailable(
            f"nothing was kept of attempt {attempt}{tried}; start its rollout with keep_workspace"
        )
    if gone is not None or (now is not None and asked.expires_at <= now):
        raise _unavailable(
            f"what was kept of attempt {attempt} expired at {asked.expires_at:%Y-%m-%d %H:%M} UTC"
        )
    return made.checkpoint_id, await _left(store, asked)


async def read_asked(store: Store, attempt: str) -> CheckpointAsked | None:
    """What was asked for of an attempt; None: nothing was."""
    found = await store.get(keys.checkpoint_asked(attempt))
    return None if found is None else CheckpointAsked.model_validate_json(found)


async def read_made(store: Store, attempt: str) -> CheckpointMade | None:
    """The attempt's checkpoint; None: there is none that can be restored."""
    found = await store.get(keys.checkpoint_made(attempt))
    return None if found is None else CheckpointMade.model_validate_json(found)


async def write_gone(store: Store, attempt: str, deleted: tuple[str, ...]) -> None:
    """Say that all checkpoints of an attempt are deleted."""
    gone = CheckpointGone(gone_at=datetime.now(UTC), deleted=deleted)
    await store.create(keys.checkpoint_gone(attempt), gone.model_dump_json().encode())


async def list_checkpoints(sandboxes: Sandboxes, sandbox_id: str) -> list[SandboxCheckpoint]:
    """A sandbox's checkpoints, oldest first; none where the provider does not know it any more.

    Raises:
        StageError: the provider failed.
    """
    try:
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE, not_found=Cause.SANDBOX_LOST):
            return await sandboxes.sdk.list_checkpoints(sandbox_id)
    except StageError as error:
        if error.cause is not Cause.SANDBOX_LOST:
            raise
        return []


async def _under_way(sandboxes: Sandboxes, sandbox_id: str) -> SandboxCheckpoint | None:
    """The newest checkpoint that an earlier try asked for, whether it heard the answer or not."""
    found = await list_checkpoints(sandboxes, sandbox_id)
    return next((one for one in reversed(found) if one.state not in _LOST), None)


async def _left(store: Store, asked: CheckpointAsked) -> LeftWork:
    """The attempt's own record; its agent's end is the ledger's, which the grading did not see."""
    content = await store.get(keys.result(asked.rollout))
    if content is None:
        raise _unavailable(
            f"rollout {asked.rollout} has no result yet: grade its attempt {asked.attempt} again "
            "once it has ended"
        )
    attempts = read_result(content).attempts
    record = next((one for one in attempts if one.attempt == asked.attempt), None)
    return LeftWork(
        workdir=asked.workdir,
        stop_reason=asked.stop_reason,
        agent_version=asked.agent_version,
        agent_exit_code=asked.agent_exit_code,
        trace=record.trace if record else None,
        trace_error=record.trace_error if record else None,
    )


def _unavailable(message: str) -> StageError:
    return StageError(Cause.REPLAY_UNAVAILABLE, message)
