"""What an earlier attempt recorded, made ready to be played: its sealed trace, else its log.

Reads only; which turn is played when is decided in `matching.py`.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from rolldock.errors import RolldockError
from rolldock.gateway.dialects.registry import dialect_named
from rolldock.gateway.facts import was_aborted
from rolldock.gateway.json_bodies import parse_object
from rolldock.gateway.rebuild import DamagedTurnError, Rebuilder
from rolldock.gateway.replaying.fingerprints import Fingerprint, Fingerprints
from rolldock.gateway.session_log import SessionLog
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnClaim, TurnError, TurnReply
from rolldock.models.trace import Trace
from rolldock.models.turn import Turn
from rolldock.store import keys
from rolldock.store.store import Store

_MODEL_KEY: Final = "model"


class RecordingGoneError(RolldockError):
    """Raised when there is nothing to play; the text names the attempt and says why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded answer, a turn or an error, and the request that it answered."""

    slot: int
    parent: int | None
    reply: Turn | TurnError
    request_digest: str | None
    """As its claim has it; read only where errors were recorded."""
    fingerprint: Fingerprint | None
    """None: of an error whose request no turn repeats, so that only its digest is known."""


class Recording:
    """The answers of one attempt, by slot."""

    def __init__(
        self, attempt: str, rebuilder: Rebuilder, entries: list[Recorded], prints: Fingerprints
    ) -> None:
        self.attempt = attempt
        self.rebuilder = rebuilder
        self.entries = {entry.slot: entry for entry in sorted(entries, key=lambda one: one.slot)}
        self.prints = prints
        turns = [entry.reply for entry in entries if isinstance(entry.reply, Turn)]
        self.formats = frozenset(turn.dialect for turn in turns)
        """The wire formats that its agent spoke, by the names of their dialects."""
        models = (turn.sent.fields.get(_MODEL_KEY) for turn in turns)
        self.model = next((name for name in models if isinstance(name, str)), None)
        """The model as its server knew it; None: no turn says."""
        self.children: defaultdict[int | None, list[int]] = defaultdict(list)
        """Slots of turns by their parent's; those without one under None."""
        for entry in self.entries.values():
            if isinstance(entry.reply, Turn):
                self.children[entry.parent].append(entry.slot)

    def last_turn(self, up_to: int) -> int | None:
        """The last recorded turn at or before a slot."""
        turns = [slot for slot, entry in self.entries.items() if isinstance(entry.reply, Turn)]
        return max((slot for slot in turns if slot <= up_to), default=None)

    async def body(self, slot: int) -> JsonObject:
        """A recorded turn's request.

        Raises:
            UnavailableError: the store does not answer.
        """
        return parse_object(await self.rebuilder.request(slot))


class Recordings:
    """The recordings that sessions of this process are playing, each read once."""

    def __init__(self) -> None:
        self._open: WeakValueDictionary[str, Recording] = WeakValueDictionary()

    async def get(self, store: Store, attempt: str) -> Recording:
        """The recording of an attempt.

        Raises:
            RecordingGoneError: there is none, or it cannot be read any more.
            UnavailableError: the store does not answer.
        """
        known = self._open.get(attempt)
        if known is not None:
            return known
        try:
            loaded = await _load(store, attempt)
        except (DamagedTurnError, KeyError, ValueError) as error:
            raise RecordingGoneError(
                f"the recording of attempt {attempt} cannot be read any more: {error}"
            ) from error
        self._open[attempt] = loaded
        return loaded


async def is_recorded(store: Store, attempt: str) -> bool:
    """Whether an attempt's turns are in the store, sealed or not.

    Raises:
        UnavailableError: the store does not answer.
    """
    if await store.get(keys.trace(attempt)) is not None:
        return True
    return bool((await SessionLog(store, attempt).listing()).replies)


async def _load(store: Store, attempt: str) -> Recording:
    turns, errors = await _replies(store, attempt)
    rebuilder, prints = Rebuilder(store, attempt, turns), Fingerprints()
    digests = await _request_digests(store, attempt, turns, errors) if errors else {}
    entries: list[Recorded] = []
    for turn in turns:
        raw = await rebuilder.request(turn.slot)
        streams = dialect_named(turn.dialect).passes_through
        found = await asyncio.to_thread(_fingerprint, prints, raw, streams)
        entries.append(Recorded(turn.slot, turn.parent, turn, digests.get(turn.slot), found))
    asked = {entry.request_digest: entry for entry in entries if entry.request_digest is not None}
    for error in errors:
        digest = digests.get(error.slot)
        if digest is not None:
            # Agents ask again what has failed: then the turn that they got tells its place.
            twin = asked.get(digest)
            parent, found = (None, None) if twin is None else (twin.parent, twin.fingerprint)
            entries.append(Recorded(error.slot, parent, error, digest, found))
    return Recording(attempt, rebuilder, entries, prints)


def _fingerprint(prints: Fingerprints, raw: bytes, streams: bool) -> Fingerprint:
    return prints.of(parse_object(raw), stream_counts=streams)


async def _replies(store: Store, attempt: str) -> tuple[list[Turn], list[TurnError]]:
    """The turns, and the errors that the model server gave."""
    stored = await store.get(keys.trace(attempt))
    if stored is not None:
        trace = await asyncio.to_thread(Trace.model_validate_json, stored)
        turns, errors = list(trace.turns), list(trace.errors)
    else:
        log = SessionLog(store, attempt)
        slots = sorted((await log.listing()).replies)
        if not slots:
            raise RecordingGoneError(
                f"attempt {attempt} has no recording (any more): replay the rollout from its start"
            )
        replies = await log.replies(slots)
        turns = [reply.turn for reply in replies if isinstance(reply, TurnReply)]
        errors = [reply for reply in replies if isinstance(reply, TurnError)]
    return turns, [error for error in errors if _was_said(error)]


def _was_said(error: TurnError) -> bool:
    """Whether an error answered a request, rather than marking where a session was cut."""
    if was_aborted(error):
        return False
    return error.divergence is None or error.divergence.went_live


async def _request_digests(
    store: Store, attempt: str, turns: list[Turn], errors: list[TurnError]
) -> dict[int, str]:
    log = SessionLog(store, attempt)
    slots = sorted({reply.slot for reply in (*turns, *errors)})
    claims = [(slot, await log.read_claim(slot)) for slot in slots]
    return {slot: claim.request_digest for slot, claim in claims if isinstance(claim, TurnClaim)}
