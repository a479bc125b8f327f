"""Garbage collection over the whole store: what it holds, and what of it nobody needs any more.

What is ever freed: recordings of ended rollouts that are old enough, sessions that no result names
(`lost_sessions.py`), blobs that nothing names (mark and sweep), and files that a killed process has
half written. Results, index entries and every other record stay. Which rollouts are open is not
known here: `rolldock/trainer/collecting.py`.

A blob is stored before the record that names it. Until then it is safe by its age:

- whoever stores a blob makes it young (`Store.put_blob`; `BLOB_GRACE` has the sum);
- a rollout that is open names blobs (its task, the logs of earlier attempts) in its history alone.
  It makes its task's bundle young when it starts (`Store.hold_blob`), and stores the others later.
  So what is older than `BLOB_GRACE` before the oldest open rollout began is not its own, and the
  callers' `blobs_before` says so;
- a blob's age is looked at again in the act of deleting it. A directory does both in one step; at
  an object store there is one request between them.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rolldock.models.collecting import (
    Collected,
    Collection,
    HalfWritten,
    Holding,
    LostSession,
    Recording,
    StoreUser,
    UnnamedBlob,
)
from rolldock.models.result import RolloutResult
from rolldock.store import keys
from rolldock.store.backend import Entry
from rolldock.store.lost_sessions import attempts_in, delete_lost, find_lost
from rolldock.store.marking import ENDPOINTS, Marks, contents
from rolldock.store.recordings import AT_ONCE, IsOpen, delete_recordings, ended_rollout, is_played
from rolldock.store.store import BLOB_GRACE, Store

BLOBS: Final = "blobs"
UNNAMED: Final = "blobs: named by nothing"
SESSION_LOGS: Final = "session logs"
TRACES: Final = "traces"
HALF_WRITTEN: Final = "half-written files"
_OTHERS: Final = (
    *(keys.RESULTS, keys.INDEX, "replays", keys.CHECKPOINTS, ENDPOINTS, keys.AGENTS),
    *(keys.TUNNELS, "creates", "tombstones", "callers", "waiting", keys.EXPIRED, keys.KEPT_BACK),
    keys.DEPLOYMENTS,
)
"""Kinds of records beside blobs and sessions, as names begin."""


class Wanted(NamedTuple):
    """What may be freed."""

    recordings_before: datetime | None
    """Recordings of rollouts that ended earlier; None: none."""
    blobs_before: datetime
    """Blobs that nothing names and that are older."""
    experiment: str | None = None
    """Only this one's recordings, and no lost sessions; None: all."""
    others: tuple[StoreUser, ...] = ()
    """Deployments whose open rollouts cannot be asked for: nothing goes that one may need."""


async def look(store: Store, wanted: Wanted, is_open: IsOpen) -> Collection:
    """What the store holds, and what could be freed; reads every result and every recording.

    Raises:
        UnavailableError: the store does not answer, or Temporal cannot tell what is open.
    """
    # Blobs come first: what is stored from now on is young, and in no danger.
    blobs = await _listed(store, BLOBS)
    recorded = await _listed(store, keys.SESSIONS)
    others = {kind: await _listed(store, kind) for kind in _OTHERS}
    marks = Marks()
    await marks.add_kinds(store)
    half_written = [entry async for entry in store.half_written()]
    by_attempt = _by_attempt(recorded)
    old, named = await _read_results(store, wanted, marks, others[keys.RESULTS], by_attempt)
    now = datetime.now(UTC)
    due = [one for one in old if not await is_played(store, is_open, one.rollout, now)]
    unnamed = {attempt: by_attempt[attempt] for attempt in by_attempt.keys() - named}
    lost = await _lost(store, wanted, is_open, unnamed)
    gone = {attempt for recording in due for attempt in recording.attempts}
    gone |= {session.attempt for session in lost}
    kept = [entry.name for entry in recorded if _attempt(entry) not in gone]
    await marks.add_recordings(store, kept)
    return Collection(
        holdings=_holdings(others | {HALF_WRITTEN: half_written}, recorded, blobs, marks),
        recordings=tuple(due),
        blobs=tuple(
            UnnamedBlob(digest=_digest(blob), n_bytes=blob.n_bytes)
            for blob in blobs
            if _digest(blob) not in marks
            and blob.written_at < wanted.blobs_before
            and not wanted.others
        ),
        sessions=tuple(lost),
        half_written=tuple(
            HalfWritten(name=entry.name, n_bytes=entry.n_bytes)
            for entry in half_written
            if entry.written_at < now - BLOB_GRACE
        ),
        others=wanted.others,
        blobs_before=wanted.blobs_before,
    )


async def free(store: Store, found: Collection, is_open: IsOpen) -> Collected:
    """Delete what a look found, less what is in use by now.

    Safe to run twice, side by side and beside rollouts.

    Raises:
        UnavailableError: the store does not answer, or Temporal cannot tell what is open; what was
            deleted until then is gone.
    """
    spared = Marks()
    deleted = [
        one for one in found.recordings if await _delete_recording(store, is_open, one, spared)
    ]
    lost = [one for one in found.sessions if await delete_lost(store, is_open, one, spared)]
    for left in found.half_written:
        await store.delete_half_written(left.name)
    doomed = [blob for blob in found.blobs if blob.digest not in spared]
    swept: list[UnnamedBlob] = []
    for start in range(0, len(doomed), AT_ONCE):
        lot = doomed[start : start + AT_ONCE]
        done = await asyncio.gather(
            *(store.delete_blob(blob.digest, unless_newer=found.blobs_before) for blob in lot)
        )
        swept += [blob for blob, is_gone in zip(lot, done, strict=True) if is_gone]
    return Collected(
        n_recordings=len(deleted),
        n_blobs=len(swept),
        n_sessions=len(lost),
        n_half_written=len(found.half_written),
        n_bytes=sum(one.n_bytes for one in (*deleted, *lost, *found.half_written, *swept)),
    )


async def _delete_recording(
    store: Store, is_open: IsOpen, recording: Recording, spared: Marks
) -> bool:
    """Delete one, unless a replay has begun to play it: then its blobs are spared, too."""
    now = datetime.now(UTC)
    result = await ended_rollout(store, keys.segment(recording.rollout))
    if result is None or await is_played(store, is_open, recording.rollout, now):
        for attempt in recording.attempts:
            await spared.add_recording(store, attempt)
        return False
    return await delete_recordings(store, result, now) > 0


async def _lost(
    store: Store, wanted: Wanted, is_open: IsOpen, unnamed: Mapping[str, Sequence[Entry]]
) -> list[LostSession]:
    """Sessions without a result that may go; their records name no experiment and no deployment."""
    if wanted.recordings_before is None or wanted.experiment is not None or wanted.others:
        return []
    return await find_lost(store, is_open, unnamed, wanted.recordings_before)


async def _read_results(
    store: Store,
    wanted: Wanted,
    marks: Marks,
    results: Sequence[Entry],
    recorded: Mapping[str, Sequence[Entry]],
) -> tuple[list[Recording], set[str]]:
    """Mark what results name; the recordings that are old enough, and the attempts that any result
    names."""
    old: list[Recording] = []
    named: set[str] = set()
    async for content in contents(store, [entry.name for entry in results]):
        result = _parsed(content)
        marks.add_result(content, result)
        named |= attempts_in(content)
        if result is not None and _may_go(result, wanted):
            recording = _recording(result, recorded)
            if recording is not None:
                old.append(recording)
    return old, named


def _parsed(content: bytes) -> RolloutResult | None:
    """A result; None: a later version wrote it so that this one cannot read it."""
    try:
        return RolloutResult.model_validate_json(content, extra="allow")
    except ValueError:
        return None


def _may_go(result: RolloutResult, wanted: Wanted) -> bool:
    if wanted.recordings_before is None or result.ended_at >= wanted.recordings_before:
        return False
    return wanted.experiment in (None, result.experiment)


def _recording(result: RolloutResult, recorded: Mapping[str, Sequence[Entry]]) -> Recording | None:
    """What is recorded of a rollout; None: nothing, or nothing any more."""
    attempts = tuple(one.attempt for one in result.attempts if one.attempt in recorded)
    entries = [entry for attempt in attempts for entry in recorded[attempt]]
    if not entries:
        return None
    return Recording(
        rollout=result.rollout,
        attempts=attempts,
        ended_at=result.ended_at,
        n_records=len(entries),
        n_bytes=sum(entry.n_bytes for entry in entries),
    )


def _holdings(
    others: Mapping[str, Sequence[Entry]],
    recorded: Sequence[Entry],
    blobs: Sequence[Entry],
    marks: Marks,
) -> tuple[Holding, ...]:
    """Every kind that there is, and each kind of blob."""
    kinds: dict[str, list[Entry]] = {kind: list(entries) for kind, entries in others.items()}
    for entry in recorded:
        is_trace = entry.name == keys.trace(_attempt(entry))
        kinds.setdefault(TRACES if is_trace else SESSION_LOGS, []).append(entry)
    for blob in blobs:
        kinds.setdefault(marks.kind(_digest(blob)) or UNNAMED, []).append(blob)
    return tuple(_holding(kind, entries) for kind, entries in kinds.items() if entries)


def _holding(kind: str, entries: Sequence[Entry]) -> Holding:
    return Holding(
        kind=kind,
        n_records=len(entries),
        n_bytes=sum(entry.n_bytes for entry in entries),
        oldest_at=min(entry.written_at for entry in entries),
    )


async def _listed(store: Store, kind: str) -> list[Entry]:
    return [entry async for entry in store.entries(kind)]


def _by_attempt(recorded: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The records of sessions that can be deleted, by attempt."""
    found: dict[str, list[Entry]] = {}
    for entry in recorded:
        attempt = _attempt(entry)
        if entry.name != keys.recording_deleted(attempt):
            found.setdefault(attempt, []).append(entry)
    return found


def _attempt(recorded: Entry) -> str:
    return recorded.name.split("/", 2)[1]


def _digest(blob: Entry) -> str:
    return blob.name.rsplit("/", 1)[1]
