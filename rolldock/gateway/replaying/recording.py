"""What an earlier attempt recorded, made ready to be played: its sealed trace, else its log.

Reads only; which turn is played when is decided in `matching.py`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from rolldock.errors import RolldockError
from rolldock.gateway.dialects.registry import dialect_named
from rolldock.gateway.facts import was_aborted
from rolldock.gateway.json_bodies import parse_object
from rolldock.gateway.rebuild import DamagedTurnError, Rebuilder
from rolldock.gateway.replaying.fingerprints import Fingerprint, Fingerprints
from rolldock.gateway.session_log import READS_AT_ONCE, SessionLog
from rolldock.models.base import JsonObject
from rolldock.models.session import TurnClaim, TurnError, TurnReply
from rolldock.models.trace import Trace
from rolldock.models.turn import Turn
from rolldock.store import keys
from rolldock.store.recordings import deletion
from rolldock.store.store import Store

_MODEL_KEY: Final = "model"

_Read = TypeVar("_Read")


class RecordingGoneError(RolldockError):
    """Raised when a recording cannot be played: there is none, or it is damaged. The text names
    the attempt, and what of it is missing or cannot be read."""


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
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """There while somebody holds one, or waits for it."""

    async def get(self, store: Store, attempt: str) -> Recording:
        """The recording of an attempt, read once, however many sessions ask for it at once.

        Raises:
            RecordingGoneError: there is none, or it is damaged.
            UnavailableError: the store does not answer.
        """
        # Not a shared task: whoever waits tries itself where another has failed or was cancelled.
        async with self._opening.setdefault(attempt, asyncio.Lock()):
            known = self._open.get(attempt)
            if known is None:
                known = self._open[attempt] = await _load(store, attempt)
            return known


async def is_recorded(store: Store, attempt: str) -> bool:
    """Whether an attempt's turns are in the store, sealed or not.

    What an interrupted delete has left is no recording.

    Raises:
        UnavailableError: the store does not answer.
    """
    if await deletion(store, attempt) is not None:
        return False
    if await store.get(keys.trace(attempt)) is not None:
        return True
    return bool((await SessionLog(store, attempt).listing()).replies)


async def _load(store: Store, attempt: str) -> Recording:
    turns, errors = await _replies(store, attempt)
    rebuilder, prints = Rebuilder(store, attempt, turns), Fingerprints()
    digests = await _request_digests(store, attempt, turns, errors) if errors else {}
    entries: list[Recorded] = []
    for turn in turns:
        with _reading(attempt, f"turn {turn.slot}"):
            found = await _checked(rebuilder, prints, turn)
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


async def _checked(rebuilder: Rebuilder, prints: Fingerprints, turn: Turn) -> Fingerprint:
    """The fingerprint of a turn's request; all else that playing it takes can be read too."""
    through = dialect_named(turn.dialect).passes_through
    if through:
        await rebuilder.reply(turn.slot)
    raw = await rebuilder.request(turn.slot)

    def compared() -> Fingerprint:
        rebuilder.tokens(turn.slot)
        return prints.of(parse_object(raw), stream_counts=through)

    return await asyncio.to_thread(compared)


async def _replies(store: Store, attempt: str) -> tuple[list[Turn], list[TurnError]]:
    """The turns, and the errors that the model server gave."""
    gone = await deletion(store, attempt)
    if gone is not None:
        raise RecordingGoneError(
            f"the recording of attempt {attempt} was deleted at {gone.deleted_at:%Y-%m-%d %H:%M} "
            "UTC: replay the rollout from its start"
        )
    stored = await store.get(keys.trace(attempt))
    if stored is not None:
        with _reading(attempt, "its trace"):
            trace = await asyncio.to_thread(Trace.model_validate_json, stored)
        turns, errors = list(trace.turns), list(trace.errors)
    else:
        log = SessionLog(store, attempt)
        slots = sorted((await log.listing()).replies)
        if not slots:
            raise RecordingGoneError(
                f"attempt {attempt} has no recording (any more): replay the rollout from its start"
            )
        replies = await _each(attempt, "the reply", log.reply, slots)
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
    claims = zip(slots, await _each(attempt, "the claim", log.read_claim, slots), strict=True)
    return {slot: claim.request_digest for slot, claim in claims if isinstance(claim, TurnClaim)}


async def _each(
    attempt: str, what: str, read: Callable[[int], Awaitable[_Read]], slots: Sequence[int]
) -> list[_Read]:
    """A record of each slot, some read side by side."""

    async def one(slot: int) -> _Read:
        with _reading(attempt, f"{what} of slot {slot}"):
            return await read(slot)

    found: list[_Read] = []
    for start in range(0, len(slots), READS_AT_ONCE):
        window = slots[start : start + READS_AT_ONCE]
        found += await asyncio.gather(*(one(slot) for slot in window))
    return found


@contextmanager
def _reading(attempt: str, what: str) -> Generator[None]:
    """Whatever cannot be read meanwhile is named, in one line."""
    try:
        yield
    except (DamagedTurnError, KeyError, ValueError) as error:
        raise RecordingGoneError(
            f"the recording of attempt {attempt} is damaged: {_damage(error, what)}: replay the "
            "rollout from its start"
        ) from error


def _damage(error: Exception, what: str) -> str:
    match error:
        case DamagedTurnError():
            return str(error)
        case KeyError(args=(int(slot),)):
            return f"{what}: turn {slot}, which it builds on, is missing"
        case KeyError(args=(missing,)):
            return f"{what}: {missing}"
        case _:
            return f"{what}: {str(error).partition(chr(10))[0]}"
