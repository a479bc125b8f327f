"""What the pages read from the store, by the ids that people and links give.

An id only ever becomes a name by `rolldock/store/keys.py`: no path of a URL reaches a file.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from pydantic import ValidationError

from rolldock.gateway.session_log import SessionLog
from rolldock.models.collecting import RecordingDeleted
from rolldock.models.result import Artifact, AttemptResult, RolloutResult
from rolldock.models.session import EndReason, Session, TurnClaim, TurnError, TurnReply
from rolldock.models.spec import ROLLOUT_ID_CHARACTERS
from rolldock.models.trace import Trace
from rolldock.results import read_result
from rolldock.store import keys
from rolldock.store.recordings import deletion
from rolldock.store.store import Store

_ATTEMPT: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_MAX_REPLAYS: Final = 200
_READS_AT_ONCE: Final = 32

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class OpenCall:
    """A model call that has no answer yet."""

    slot: int
    since: datetime


@dataclass(frozen=True)
class Recorded:
    """A session's turns, from its sealed trace or from the log as it is now."""

    trace: Trace
    session: Session | None
    sealed: bool
    open_calls: tuple[OpenCall, ...] = ()
    unreadable: tuple[str, ...] = ()
    """What of the log cannot be read, and why."""


def recorded_by(attempt: AttemptResult) -> str:
    """The attempt whose session this one's trace is: its own, or, where it only graded, the one
    that it graded."""
    return attempt.attempt if attempt.trace is None else keys.recorded_attempt(attempt.trace.ref)


class Library:
    """Reads of one store.

    Raises:
        UnavailableError: from every method, when the store does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.where = store.where

    async def result(self, rollout: str) -> RolloutResult | None:
        """The result of a rollout; None: there is none, or that is no id."""
        if not _is_rollout(rollout):
            return None
        content = await self._store.get(keys.result(rollout))
        return None if content is None else read_result(content)

    async def replays(self, rollout: str) -> list[str]:
        """The ids of the rollouts that replay one, in their order."""
        names: list[str] = []
        async for name in self._store.names(keys.replays(rollout)):
            names.append(name)
            if len(names) >= _MAX_REPLAYS:
                break
        found = await _in_windows(self._store.get, names)
        ids = (content.decode(errors="replace") for content in found if content is not None)
        return sorted(id for id in ids if _is_rollout(id))

    async def blob(self, digest: str) -> bytes | None:
        """A blob by its digest; None: it is not there (any more)."""
        try:
            return await self._store.get_blob(digest)
        except KeyError:
            return None

    async def artifact(
        self, result: RolloutResult, number: int, name: str
    ) -> tuple[Artifact, bytes] | None:
        """A file that an attempt left, by its name; None: there is none."""
        for attempt in result.attempts:
            for artifact in attempt.artifacts if attempt.number == number else ():
                if artifact.name == name:
                    content = await self.blob(artifact.digest)
                    return None if content is None else (artifact, content)
        return None

    async def recorded(self, attempt: str) -> Recorded | None:
        """What an attempt's session recorded; None: it has none (any more), or that is no
        attempt's id."""
        # An interrupted delete leaves some records beside its mark: the mark counts.
        if not _ATTEMPT.fullmatch(attempt) or await self.deleted(attempt) is not None:
            return None
        session = await self._session(attempt)
        sealed = await self._store.get(keys.trace(attempt))
        if sealed is not None:
            try:
                trace = Trace.model_validate_json(sealed)
            except ValidationError as error:
                return await self._from_log(attempt, session, (_said("the trace", error),))
            return Recorded(trace, session, sealed=True)
        return None if session is None else await self._from_log(attempt, session, ())

    async def deleted(self, attempt: str) -> RecordingDeleted | None:
        """When an attempt's recording was deleted; None: it was not, or that is no attempt's id."""
        return await deletion(self._store, attempt) if _ATTEMPT.fullmatch(attempt) else None

    async def _session(self, attempt: str) -> Session | None:
        try:
            return await SessionLog(self._store, attempt).session()
        except ValidationError:
            return None

    async def _from_log(
        self, attempt: str, session: Session | None, unreadable: tuple[str, ...]
    ) -> Recorded:
        log = SessionLog(self._store, attempt)
        found = await log.listing()
        broken = list(unreadable)
        turns: list[TurnReply] = []
        errors: list[TurnError] = []
        slots = sorted(found.replies)
        replies = await _in_windows(partial(_read, log), slots)
        for slot, reply in zip(slots, replies, strict=True):
            if isinstance(reply, TurnReply):
                turns.append(reply)
            elif isinstance(reply, TurnError):
                errors.append(reply)
            elif reply is not None:
                broken.append(f"slot {slot}: {reply}")
        trace = Trace(
            attempt=attempt,
            rollout=session.rollout if session else "unknown",
            turns=tuple(reply.turn for reply in turns),
            errors=tuple(errors),
            delivered=tuple(sorted(found.delivered)),
            end_reason=await _end_reason(log),
            sealed_at=datetime.now(UTC),
        )
        unanswered = [slot for slot in sorted(found.claims) if slot not in found.replies]
        calls = await _in_windows(partial(_open_call, log), unanswered[-_READS_AT_ONCE:])
        return Recorded(
            trace,
            session,
            sealed=False,
            open_calls=tuple(call for call in calls if call is not None),
            unreadable=tuple(broken),
        )


async def _read(log: SessionLog, slot: int) -> TurnReply | TurnError | str | None:
    """A reply, or why it cannot be read."""
    try:
        return await log.reply(slot)
    except ValidationError as error:
        return _said("its reply", error)


async def _end_reason(log: SessionLog) -> EndReason | None:
    try:
        end = await log.ended()
    except ValidationError:
        return None
    return None if end is None else end.reason


async def _open_call(log: SessionLog, slot: int) -> OpenCall | None:
    try:
        claim = await log.read_claim(slot)
    except ValidationError:
        return None
    return OpenCall(slot, claim.claimed_at) if isinstance(claim, TurnClaim) else None


async def _in_windows(read: Callable[[K], Awaitable[T]], wanted: Sequence[K]) -> list[T]:
    """The results of many reads, so many at once."""
    found: list[T] = []
    for start in range(0, len(wanted), _READS_AT_ONCE):
        window = wanted[start : start + _READS_AT_ONCE]
        found += await asyncio.gather(*(read(one) for one in window))
    return found


def _is_rollout(value: str) -> bool:
    return ROLLOUT_ID_CHARACTERS.fullmatch(value) is not None


def _said(what: str, error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{what} cannot be read: {where}: {first['msg']}"
