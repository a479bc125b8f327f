"""Sessions that no result names, of rollouts that were ended long ago and never got a result.

What is of an open rollout stays, whatever its age. That a result may still be written, as long as
Temporal remembers the rollout, keeps none that is past its lifetime: sealing says then that the
recording was deleted.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rolldock.models.collecting import LostSession
from rolldock.models.session import Session
from rolldock.store import keys
from rolldock.store.backend import Entry
from rolldock.store.marking import Marks
from rolldock.store.recordings import IsOpen, delete_recording, is_played
from rolldock.store.store import Store

_UUID: Final = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_ATTEMPT: Final = re.compile(_UUID)
_ATTEMPTS: Final = re.compile(_UUID.encode())


def attempts_in(result: bytes) -> set[str]:
    """Every attempt that a result names, also one of a version that cannot be read here."""
    return {found.decode() for found in _ATTEMPTS.findall(result)}


async def find_lost(
    store: Store, is_open: IsOpen, unnamed: Mapping[str, Sequence[Entry]], before: datetime
) -> list[LostSession]:
    """Those whose last record was written earlier and whom nobody needs.

    Args:
        unnamed: the records of the attempts that no result names.

    Raises:
        UnavailableError: the store does not answer, or Temporal cannot tell.
    """
    found: list[LostSession] = []
    for attempt, entries in sorted(unnamed.items()):
        last_at = max(entry.written_at for entry in entries)
        if last_at >= before or _ATTEMPT.fullmatch(attempt) is None:
            continue
        try:
            rollout = await _rollout(store, attempt)
        except ValueError:
            continue  # of a version that this one cannot read: not ours to judge
        if rollout is None or not await _is_needed(store, is_open, rollout):
            found.append(
                LostSession(
                    attempt=attempt,
                    rollout=rollout,
                    last_at=last_at,
                    n_records=len(entries),
                    n_bytes=sum(entry.n_bytes for entry in entries),
                )
            )
    return found


async def delete_lost(store: Store, is_open: IsOpen, lost: LostSession, spared: Marks) -> bool:
    """Delete one, unless it has a result or is open by now: then its blobs are spared, too.

    Raises:
        UnavailableError: the store does not answer, or Temporal cannot tell.
    """
    if lost.rollout is not None:
        result = await store.get(keys.result(lost.rollout))
        is_named = result is not None and lost.attempt in attempts_in(result)
        if is_named or await _is_needed(store, is_open, lost.rollout):
            await spared.add_recording(store, lost.attempt)
            return False
    return await delete_recording(store, lost.attempt, lost.last_at, datetime.now(UTC)) > 0


async def _rollout(store: Store, attempt: str) -> str | None:
    """Whose session it is; None: it was never opened, or its record is deleted already."""
    content = await store.get(keys.session(attempt))
    if content is None:
        return None
    # A later version's limits may have fields that this one does not know.
    return Session.model_validate_json(content, extra="allow").rollout


async def _is_needed(store: Store, is_open: IsOpen, rollout: str) -> bool:
    return await is_open(rollout) or await is_played(store, is_open, rollout, datetime.now(UTC))
