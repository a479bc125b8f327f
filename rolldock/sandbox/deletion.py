"""Making certain that no sandbox of an attempt is alive; the other half of `creation.py`.

Bulk delete by label is never used: what is deleted is deleted by the id of a sandbox whose own
labels were read.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from rolldock.errors import UnavailableError
from rolldock.models.base import Record, UtcTime
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.store import keys
from rolldock.store.store import Store

_FIRST_POLL_SECONDS: Final = 0.05
_LAST_POLL_SECONDS: Final = 5.0


class Tombstone(Record):
    """Written before the first delete, by whoever gave the attempt up."""

    written_at: UtcTime


async def delete_sandboxes(
    sandboxes: Sandboxes,
    store: Store,
    owner: Ownership,
    *,
    sandbox_id: str | None,
    create_sent: bool,
    settle_seconds: float,
) -> tuple[str, ...]:
    """Delete every sandbox of an attempt, and return their ids once all are gone.

    Args:
        owner: with the attempt. Its run does not matter: after a reset the sandbox of a replayed
            create carries the old run's label.
        sandbox_id: what create returned; None where it never answered.
        create_sent: False where it is certain that no create reached the provider.
        settle_seconds: how long after the tombstone a create without a reply may still show.

    Raises:
        StageError: the provider fails; the caller retries.
        UnavailableError: the store fails; what could be found is deleted all the same, and the
            caller retries until the tombstone is written.
    """
    attempt, owner = str(owner.attempt), owner.model_copy(update={"run": None})
    try:
        settled_at = await _bury(store, attempt) + timedelta(seconds=settle_seconds)
        expected = create_sent and await store.get(keys.create_sent(attempt)) is not None
    except UnavailableError:
        await _delete_found(sandboxes, owner, sandbox_id, settled_at=None)
        raise
    return await _delete_found(
        sandboxes, owner, sandbox_id, settled_at=settled_at if expected else None
    )


async def delete_listed(
    sandboxes: Sandboxes, store: Store, owner: Ownership, sandbox_id: str
) -> None:
    """Delete a sandbox that was listed, whose attempt nobody goes on with; its tombstone first.

    Raises:
        StageError: the provider fails; the caller retries.
        UnavailableError: the store fails; the caller retries.
    """
    await delete_sandboxes(
        sandboxes, store, owner, sandbox_id=sandbox_id, create_sent=False, settle_seconds=0
    )


async def _delete_found(
    sandboxes: Sandboxes, owner: Ownership, sandbox_id: str | None, *, settled_at: datetime | None
) -> tuple[str, ...]:
    """Delete what create returned and what the provider lists, until a list shows no more.

    Args:
        settled_at: until when to go on looking if nothing is found; None: one look is enough.
    """
    gone: set[str] = set()
    delay = _FIRST_POLL_SECONDS
    while True:
        found = {sandbox.id for sandbox in await sandboxes.owned(owner)} - gone
        if sandbox_id is not None and sandbox_id not in gone:
            found.add(sandbox_id)
        for found_id in sorted(found):
            await sandboxes.delete(found_id)
            await _until_gone(sandboxes, found_id)
            gone.add(found_id)
        if not found and (gone or settled_at is None or datetime.now(UTC) >= settled_at):
            return tuple(sorted(gone))
        if not found:
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_POLL_SECONDS)


async def _bury(store: Store, attempt: str) -> datetime:
    """Write the tombstone unless it is there; when it was written."""
    name = keys.tombstone(attempt)
    tombstone = Tombstone(written_at=datetime.now(UTC))
    if await store.create(name, tombstone.model_dump_json().encode()):
        return tombstone.written_at
    written = await store.get(name)
    return tombstone.written_at if written is None else _written_at(written)


def _written_at(content: bytes) -> datetime:
    return Tombstone.model_validate_json(content).written_at


async def _until_gone(sandboxes: Sandboxes, sandbox_id: str) -> None:
    delay = _FIRST_POLL_SECONDS
    while await sandboxes.status(sandbox_id) is not None:
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LAST_POLL_SECONDS)
