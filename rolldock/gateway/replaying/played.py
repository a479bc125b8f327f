"""Carrying out what was decided for a call of a session that plays a recording.

Either the recorded answer is given as if the model had, or the report is written of how the call
differs from what was recorded. Who gets which is decided in `player.py`.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from rolldock.gateway.calls import Answer, CallTools, ModelCall, SlotCall, answer_of, error_answer
from rolldock.gateway.dialects.base import EVENTS_TYPE, JSON_TYPE
from rolldock.gateway.engines.base import EngineCall
from rolldock.gateway.json_bodies import LARGE_BODY_BYTES
from rolldock.gateway.patience import patiently
from rolldock.gateway.replaying.difference import Difference, first_difference
from rolldock.gateway.replaying.recording import Recording
from rolldock.gateway.turns import BuiltTurn, repeat_turn
from rolldock.models.replay import Divergence, Replayed
from rolldock.models.session import TurnError, TurnReply
from rolldock.models.turn import Turn

_STATUS: Final = 400
"""No client retries it; 403 marks what END aborted."""


class PlayedCall(SlotCall):
    """A call that a recorded turn or error answers."""

    def __init__(
        self, tools: CallTools, model: ModelCall, call: EngineCall, recording: Recording, slot: int
    ) -> None:
        self._tools = tools
        self._model = model
        self._call = call
        self._recording = recording
        self._recorded = recording.entries[slot].reply
        self._replayed = Replayed(attempt=recording.attempt, slot=slot)

    async def run(self) -> Answer:
        recorded, place = self._recorded, self._call.place
        if isinstance(recorded, TurnError):
            now = {"started_at": place.started_at, "ended_at": datetime.now(UTC)}
            changed = {"slot": place.slot, "replayed": self._replayed, "divergence": None, **now}
            error = recorded.model_copy(update=changed)
            return await answer_of(self._tools.store, self._call.dialect, error, place.attempt)
        built = await self._built(recorded)
        await self._keep(built.blobs)
        kind = EVENTS_TYPE if built.turn.streamed else JSON_TYPE
        return Answer(TurnReply(turn=built.turn), 200, kind, built.rendered)

    def aborted(self, message: str, status: int) -> Answer:
        return self._model.aborted(message, status)

    async def _built(self, recorded: Turn) -> BuiltTurn:
        call, rebuilder = self._call, self._recording.rebuilder
        through = call.dialect.passes_through
        raw = await patiently(lambda: rebuilder.reply(recorded.slot)) if through else None
        tokens = rebuilder.tokens(recorded.slot)
        build = (call.place, call.dialect, recorded, self._replayed, tokens, call.prefixes, raw)
        if call.place.request.received.n_bytes < LARGE_BODY_BYTES:
            return repeat_turn(*build, datetime.now(UTC))
        return await asyncio.to_thread(repeat_turn, *build, datetime.now(UTC))

    async def _keep(self, blobs: Iterable[bytes]) -> None:
        for blob in blobs:
            await patiently(lambda blob=blob: self._tools.store.put_blob(blob))


@dataclass(frozen=True, slots=True)
class Parting:
    """A call that no recorded turn answers."""

    nearest: int | None
    """The recorded turn that it was probably meant to be; None: none was left."""
    depth: int
    """How many turns lie before it on its branch."""
    goes_live: bool


class DivergedCall(SlotCall):
    """A call that was not recorded: refused with the report, or asked live and kept with it."""

    def __init__(
        self, model: ModelCall, call: EngineCall, recording: Recording, parting: Parting
    ) -> None:
        self._model = model
        self._call = call
        self._recording = recording
        self._parting = parting

    async def run(self) -> Answer:
        report = await patiently(self._report)
        if not self._parting.goes_live:
            return error_answer(self._call.dialect, self._error(report))
        answer = await self._model.run()
        reply = answer.reply
        if isinstance(reply, TurnReply):
            turn = reply.turn.model_copy(update={"diverged": report})
            return replace(answer, reply=TurnReply(turn=turn))
        return replace(answer, reply=reply.model_copy(update={"divergence": report}))

    def aborted(self, message: str, status: int) -> Answer:
        return self._model.aborted(message, status)

    def _error(self, report: Divergence) -> TurnError:
        place = self._call.place
        return TurnError(
            slot=place.slot,
            status=_STATUS,
            message=sentence(report),
            divergence=report,
            started_at=place.started_at,
            ended_at=datetime.now(UTC),
        )

    async def _report(self) -> Divergence:
        parting, request = self._parting, self._call.place.request
        found: Difference | None = None
        if parting.nearest is not None:
            recorded = await self._recording.body(parting.nearest)
            found = await asyncio.to_thread(first_difference, recorded, request.body)
        found = found or self._all_new()
        return Divergence(
            slot=self._call.place.slot,
            recorded_slot=parting.nearest,
            turn=parting.depth,
            field=found.field,
            recorded=found.recorded,
            asked=found.asked,
            diff=found.diff,
            went_live=parting.goes_live,
        )

    def _all_new(self) -> Difference:
        """Nothing was left to compare with: the request's last item is what was not recorded."""
        request = self._call.place.request
        key = "messages" if request.native is None else request.native.key
        items = request.messages if request.native is None else request.native.items
        if not items:
            return first_difference({}, {key: request.body.get(key)}) or _NOTHING
        at = len(items) - 1
        shown = first_difference({}, {key: items[at]}) or _NOTHING
        return replace(shown, field=f"{key}[{at}]")


_NOTHING: Final = Difference("messages", None, None, "")


def sentence(report: Divergence) -> str:
    """A divergence in one sentence: the turn, the field, and what differed."""
    asked = _shown(report.asked)
    where = f"turn {report.turn} (slot {report.slot}) diverged from the recording"
    if report.recorded_slot is None:
        return f"{where}: no recorded turn was left for it; {report.field} was {asked}"
    return (
        f"{where}: {report.field} was {_shown(report.recorded)} in recorded slot "
        f"{report.recorded_slot}, and is {asked}"
    )


def _shown(text: str | None) -> str:
    return "absent" if text is None else repr(text)
