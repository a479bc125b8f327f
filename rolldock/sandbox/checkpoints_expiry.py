"""Deleting checkpoints whose time is over, by the ledger: the only one who knows of them all.

What belongs to a rollout that is open, or that an open one grades again, is left alone; so is what
cannot be told. Whatever is not certainly gone stays in the ledger for the next sweep.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, NamedTuple

from prime_sandboxes import APIError

from rolldock.errors import RolldockError
from rolldock.models.checkpoint import CheckpointAsked
from rolldock.models.failure import Cause
from rolldock.results import read_result
from rolldock.sandbox.checkpoints import list_checkpoints, read_asked, read_made, write_gone
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.faults import sandbox_faults, status_of
from rolldock.sandbox.reaping import LookUp
from rolldock.store import keys
from rolldock.store.store import Store

_AT_ONCE: Final = 16
_SECONDS: Final = 60.0
"""For the checkpoints of one attempt; the next sweep goes on."""
_NOT_FOUND: Final = 404


class Expired(NamedTuple):
    """What became of an attempt's expired checkpoints."""

    asked: CheckpointAsked
    is_open: bool = False
    """They were left alone: somebody still needs them."""
    error: str | None = None
    """Why they, or some of them, could not be deleted."""

    @property
    def is_over(self) -> bool:
        """Whether they are gone; on a dry run, whether they would be asked to go."""
        return self.error is None and not self.is_open

    def __str__(self) -> str:
        return f"{self.asked.rollout}, attempt {self.asked.attempt}: {self.error}"


async def expired(store: Store, deployment: str, now: datetime) -> list[CheckpointAsked]:
    """A deployment's entries in the ledger whose time is over and whose checkpoints may still be
    there, in no order.

    Raises:
        UnavailableError: the store does not answer.
    """
    attempts: set[str] = set()
    gone: set[str] = set()
    async for name in store.names(keys.CHECKPOINTS):
        attempt = name.split("/")[1]
        (gone if name == keys.checkpoint_gone(attempt) else attempts).add(attempt)
    found: list[CheckpointAsked] = []
    async for asked in _read_all(store, sorted(attempts - gone)):
        if asked.deployment == deployment and asked.expires_at <= now:
            found.append(asked)
    return found


async def delete_expired(
    sandboxes: Sandboxes,
    store: Store,
    look_up: LookUp,
    entries: list[CheckpointAsked],
    cap: int,
    *,
    dry_run: bool = False,
) -> list[Expired]:
    """Delete the checkpoints of entries and say so in the ledger; what came of each, or would come
    of it.

    Their order is drawn anew each time: what cannot be deleted takes nobody's place for good.

    Args:
        cap: entries at most whose checkpoints are asked to go; those that somebody needs are
            passed by and do not count.
    """
    waiting = random.sample(entries, len(entries))
    done: list[Expired] = []
    n_left = cap
    while waiting and n_left > 0:
        n_now = min(_AT_ONCE, n_left)
        lot, waiting = waiting[:n_now], waiting[n_now:]
        tried = await asyncio.gather(
            *(_expire(sandboxes, store, look_up, asked, dry_run=dry_run) for asked in lot)
        )
        n_left -= sum(not came_of.is_open for came_of in tried)
        done += tried
    return done


async def _expire(
    sandboxes: Sandboxes, store: Store, look_up: LookUp, asked: CheckpointAsked, *, dry_run: bool
) -> Expired:
    try:
        async with asyncio.timeout(_SECONDS):
            if await is_needed(store, look_up, asked):
                return Expired(asked, is_open=True)
            if not dry_run:
                await _delete(sandboxes, store, asked)
    except RolldockError as error:
        return Expired(asked, error=str(error))
    except TimeoutError:
        return Expired(asked, error=f"not deleted within {_SECONDS:g} s")
    return Expired(asked)


async def is_needed(store: Store, look_up: LookUp, asked: CheckpointAsked) -> bool:
    """Whether an open rollout may still use a checkpoint: its own, or a replay of it.

    Raises:
        RolldockError: that cannot be told.
    """
    if (await look_up(asked.rollout, asked.run)).is_open:
        return True
    return await _is_replayed(store, look_up, asked.rollout)


async def _is_replayed(store: Store, look_up: LookUp, rollout: str) -> bool:
    """Whether a replay is open, or one of a replay that kept nothing of its own."""
    async for name in store.names(keys.replays(rollout)):
        content = await store.get(name)
        if content is None:
            continue
        replay = content.decode()
        if (await look_up(replay, None)).is_open:
            return True
        ended = await store.get(keys.result(replay))
        kept_nothing = ended is not None and read_result(ended).spec.only_grades
        if kept_nothing and await _is_replayed(store, look_up, replay):
            return True
    return False


async def _delete(sandboxes: Sandboxes, store: Store, asked: CheckpointAsked) -> None:
    """Delete whatever the sandbox has, also what was asked for and never heard of; and the one
    that the ledger names, should the provider list nothing of a sandbox that is gone.

    Raises:
        StageError: the provider failed, or one is in use.
    """
    found = {one.id for one in await list_checkpoints(sandboxes, asked.sandbox_id)}
    made = await read_made(store, asked.attempt)
    if made is not None:
        found.add(made.checkpoint_id)
    for checkpoint_id in sorted(found):
        async with sandbox_faults(Cause.SANDBOX_UNAVAILABLE):
            try:
                await sandboxes.sdk.delete_checkpoint(checkpoint_id)
            except APIError as error:
                if status_of(error) != _NOT_FOUND:
                    raise
    await write_gone(store, asked.attempt, tuple(sorted(found)))


async def _read_all(store: Store, attempts: list[str]) -> AsyncIterator[CheckpointAsked]:
    for start in range(0, len(attempts), _AT_ONCE):
        batch = attempts[start : start + _AT_ONCE]
        for asked in await asyncio.gather(*(read_asked(store, attempt) for attempt in batch)):
            if asked is not None:
                yield asked
