"""What a session's log says once its agent has ended, for whoever decides what that means."""

import asyncio
from typing import Final

from rolldock.gateway.session_log import Listing, SessionLog
from rolldock.models.session import EndClaim, EndReason, SessionFacts, TurnError, TurnReply

SETTLE_SECONDS: Final = 3.0
"""Longer than a living gateway needs to abort a call that its agent left, or to record that the
last byte was written: what is still open afterwards belongs to a gateway that is gone."""

_LOOK_SECONDS: Final = 0.1

ABORTED_STATUS: Final = 403
"""Of the error that is recorded for a call that END aborted; it has no upstream status."""


def was_aborted(reply: TurnReply | TurnError | None) -> bool:
    """Whether a reply is the mark of a call that END aborted."""
    return (
        isinstance(reply, TurnError)
        and reply.status == ABORTED_STATUS
        and reply.upstream_status is None
    )


async def read_facts(log: SessionLog, settle_seconds: float = SETTLE_SECONDS) -> SessionFacts:
    """The facts of a session that END has closed; waits a little for what is being written.

    Raises:
        UnavailableError: the store does not answer.
    """
    end = await log.ended()
    newest = await _newest_reply(log)
    divergence = await _divergence(log)
    return SessionFacts(
        # Counting reads every reply; the newest one nearly always tells.
        has_turn=isinstance(newest, TurnReply) or await log.n_turns() > 0,
        # What was recorded counts: a gateway may have died before it wrote END for it.
        end_reason=EndReason.REPLAY_DIVERGED if divergence else _reason(end, newest),
        end_detail=None if end is None else end.detail,
        last_error=newest.message if isinstance(newest, TurnError) else None,
        undelivered=await _undelivered(log, settle_seconds),
        divergence=divergence,
    )


def _reason(end: EndClaim | None, newest: TurnReply | TurnError | None) -> EndReason | None:
    """Why the session ended: an overflow as its last word, else what END says."""
    if isinstance(newest, TurnError) and newest.context_overflow:
        return EndReason.CONTEXT_LENGTH
    return None if end is None else end.reason


async def _divergence(log: SessionLog) -> str | None:
    """What the call said that ended a replay; others may have been answered after it."""
    session = await log.session()
    if session is None or session.replay is None:
        return None
    replies = await log.replies(sorted((await log.listing()).replies))
    return next(
        (
            reply.message
            for reply in replies
            if isinstance(reply, TurnError)
            and reply.divergence is not None
            and not reply.divergence.went_live
        ),
        None,
    )


async def _newest_reply(log: SessionLog) -> TurnReply | TurnError | None:
    """The newest reply that END did not make."""
    found = await log.listing()
    for slot in sorted(found.replies, reverse=True):
        reply = await log.reply(slot)
        if not was_aborted(reply):
            return reply
    return None


async def _undelivered(log: SessionLog, settle_seconds: float) -> bool:
    deadline = asyncio.get_running_loop().time() + settle_seconds
    while await newest_is_undelivered(log, await log.listing()):
        if asyncio.get_running_loop().time() >= deadline:
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


async def newest_is_undelivered(log: SessionLog, found: Listing) -> bool:
    """Whether the newest claim has no answer, or a turn whose last byte was never written."""
    end = await log.ended()
    slots = sorted(found.claims)
    if end is not None and slots:
        slots.pop()
    if not slots or slots[-1] in found.delivered:
        return False
    newest = slots[-1]
    return newest not in found.replies or isinstance(await log.reply(newest), TurnReply)
