"""One session that plays a recording: which of its calls are played, which go to the model.

Recovered from the session's own turns, like all that a session knows. Decides under the session's
lock, at once; what that takes to carry out is in `played.py`.

Played turns count against the budgets of turns and tokens as they did when they were recorded,
although they cost nothing: a replay then ends where the original did, and a fork has left what the
original had left at that turn.
"""

from dataclasses import dataclass, field

from rolldock.gateway.calls import CallTools, ModelCall, SlotCall
from rolldock.gateway.engines.base import EngineCall
from rolldock.gateway.refusals import RefusedError
from rolldock.gateway.replaying.fingerprints import Fingerprint
from rolldock.gateway.replaying.matching import find_answer, find_nearest
from rolldock.gateway.replaying.played import DivergedCall, Parting, PlayedCall
from rolldock.gateway.replaying.recording import Recording, RecordingGoneError, Recordings
from rolldock.gateway.session_log import SessionLog
from rolldock.models.replay import OnDivergence, ReplayFrom, ReplayPoint
from rolldock.models.session import EndReason, Session, TurnError, TurnReply
from rolldock.store.store import Store


@dataclass(frozen=True, slots=True)
class _Play:
    """Answer with what is recorded under this slot."""

    slot: int


class _Ask:
    """The model is asked, as in any session."""


@dataclass(slots=True)
class Player:
    """What of a recording one session has played."""

    point: ReplayPoint
    recording: Recording
    stopped: bool = False
    """Whether a call has diverged that ends the session."""
    _played: dict[int, int] = field(default_factory=dict[int, int])
    """Own slot -> recorded slot, of turns and errors, answered or on their way."""
    _parents: dict[int, int | None] = field(default_factory=dict[int, int | None])
    """Own turns that were answered, by slot."""
    _unused: set[int] = field(default_factory=set[int])
    _last: int | None = None
    """Of a fork, the recorded turn after which the model is asked."""
    _after: set[int] = field(default_factory=set[int])
    """Of a fork, the recorded slots after that turn: what was asked there is the model's, also
    where it is asked sooner this time."""

    def __post_init__(self) -> None:
        slots = self.recording.entries
        if self.point.kind is ReplayFrom.TURN:
            self._last = self.recording.last_turn(self.point.turn or 0)
            self._after.update(
                slot for slot in slots if self._last is not None and slot > self._last
            )
            slots = [slot for slot in slots if self._last is not None and slot <= self._last]
        self._unused.update(slots)

    @property
    def model(self) -> str | None:
        """The model's name as it was when the recording was made."""
        return self.recording.model

    @property
    def formats(self) -> frozenset[str]:
        """The wire formats, by name, that the recorded turns were asked in."""
        return self.recording.formats

    def take_up(self, slot: int, reply: TurnReply | TurnError) -> None:
        """An own slot was answered, by whichever process: what is recorded of it counts."""
        said = reply.turn if isinstance(reply, TurnReply) else reply
        if isinstance(reply, TurnReply):
            self._parents[slot] = reply.turn.parent
        elif reply.divergence is not None and not reply.divergence.went_live:
            self.stopped = True
        given = self._played.pop(slot, None)
        if given is not None:
            self._unused.add(given)
        if said.replayed is not None:
            self._played[slot] = said.replayed.slot
            self._unused.discard(said.replayed.slot)

    def call(self, tools: CallTools, model: ModelCall, call: EngineCall) -> SlotCall:
        """What answers a claimed slot: a recorded turn, or the model."""
        decided = self._decide(call)
        match decided:
            case _Play():
                return PlayedCall(tools, model, call, self.recording, decided.slot)
            case _Ask():
                return model
            case Parting():
                return DivergedCall(model, call, self.recording, decided)

    def _decide(self, call: EngineCall) -> "_Play | _Ask | Parting":
        place = call.place
        own, parent = place.slot, place.placement.parent
        if own in self._played:
            return _Play(self._played[own])
        if self._is_live(parent):
            return _Ask()
        streams = call.dialect.passes_through
        asked = self.recording.prints.of(place.request.body, stream_counts=streams)
        continued = None if parent is None else self._played[parent]
        found = find_answer(self.recording, self._unused, asked, place.request.digest, continued)
        if found is None and self._was_asked_later(asked, place.request.digest, continued):
            return _Ask()
        if found is None:
            nearest = find_nearest(self.recording, self._unused, asked, continued)
            goes_live = self.point.on_divergence is OnDivergence.LIVE
            return Parting(nearest, self._depth(parent), goes_live)
        self._unused.discard(found)
        self._played[own] = found
        return _Play(found)

    def _is_live(self, parent: int | None) -> bool:
        """Whether a request that continues `parent` is the model's, whatever it says."""
        if parent is not None and parent not in self._played:
            return True
        if self.point.kind is not ReplayFrom.TURN:
            return False
        return self._last is None or self._last not in self._unused

    def _was_asked_later(self, asked: Fingerprint, request_digest: str, parent: int | None) -> bool:
        found = find_answer(self.recording, self._after, asked, request_digest, parent)
        return found is not None

    def _depth(self, parent: int | None) -> int:
        """How many turns lie before a request that continues `parent`."""
        depth = 0
        while parent is not None:
            depth += 1
            parent = self._parents[parent]
        return depth


async def open_player(
    store: Store, recordings: Recordings, session: Session, by: str
) -> Player | None:
    """The player of a session; None: it replays nothing, or nothing of a recording.

    A session whose recording cannot be played is ended, so that its rollout fails for that.

    Args:
        by: who writes END then.

    Raises:
        RefusedError: the recording is gone or damaged.
        UnavailableError: the store does not answer.
    """
    point = session.replay
    if point is None or point.kind not in (ReplayFrom.RECORDING, ReplayFrom.TURN):
        return None
    try:
        return Player(point, await recordings.get(store, point.attempt))
    except RecordingGoneError as error:
        log = SessionLog(store, session.attempt)
        await log.end(EndReason.REPLAY_UNAVAILABLE, by=by, detail=str(error))
        raise RefusedError(403, "replay_unavailable", str(error), "rolldock_error") from error
