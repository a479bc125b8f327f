"""Sealing: the records of a finished session become one trace, written once.

Which stop reason follows from it is not decided here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from rolldock.agents.auxiliary import AuxiliaryRule, auxiliary_slots
from rolldock.chains import TokenChains
from rolldock.gateway.facts import newest_is_undelivered, was_aborted
from rolldock.gateway.session_log import SessionLog
from rolldock.models.session import EndReason, TurnError, TurnReply
from rolldock.models.spec import Auxiliary, RolloutId
from rolldock.models.trace import Trace, TraceSummary
from rolldock.models.turn import Turn
from rolldock.samples import count_samples
from rolldock.store import keys
from rolldock.store.recordings import refuse_deleted
from rolldock.store.store import Store
from rolldock.trainable import untrainable
from rolldock.transitions import transitions


async def seal(
    store: Store,
    attempt: str,
    rollout: RolloutId,
    sealed_at: datetime,
    rule: AuxiliaryRule | None = None,
    policy: Auxiliary = Auxiliary.TRAIN,
) -> TraceSummary:
    """Write the trace of an attempt unless it exists, and say what the stored one holds.

    Args:
        rule: which of its agent's calls are auxiliary.
        policy: what becomes of those in samples.

    Raises:
        RecordingDeletedError: the records are gone: what is left of them is no trace.
        UnavailableError: the store does not answer.
    """
    name = keys.trace(attempt)
    stored = await store.get(name)
    if stored is None:
        await refuse_deleted(store, attempt)
        trace, undelivered = await _read(store, attempt, rollout, sealed_at)
        beside = tuple(sorted(auxiliary_slots(trace.turns, rule)))
        trace = trace.model_copy(update={"auxiliary": beside, "auxiliary_policy": policy})
        if await store.create(name, trace.model_dump_json().encode()):
            return summarise(trace, undelivered)
        stored = cast(bytes, await store.get(name))
    trace = Trace.model_validate_json(stored)
    log = SessionLog(store, attempt)
    return summarise(trace, await newest_is_undelivered(log, await log.listing()))


async def _read(
    store: Store, attempt: str, rollout: RolloutId, sealed_at: datetime
) -> tuple[Trace, bool]:
    log = SessionLog(store, attempt)
    found = await log.listing()
    replies = await log.replies(sorted(found.replies))
    end = await log.ended()
    trace = Trace(
        attempt=attempt,
        rollout=rollout,
        turns=tuple(reply.turn for reply in replies if isinstance(reply, TurnReply)),
        errors=tuple(reply for reply in replies if isinstance(reply, TurnError)),
        delivered=tuple(sorted(found.delivered)),
        end_reason=None if end is None else end.reason,
        sealed_at=sealed_at,
    )
    return trace, await newest_is_undelivered(log, found)


def summarise(trace: Trace, undelivered: bool) -> TraceSummary:
    """What a result says of a trace."""
    turns = trace.turns
    parents = {turn.parent for turn in turns}
    chains = TokenChains(turns)
    drifts = [transition.drift_tokens for transition in transitions(chains)]
    return TraceSummary(
        ref=keys.trace(trace.attempt),
        n_turns=len(turns),
        n_branches=sum(turn.slot not in parents for turn in turns),
        n_samples=count_samples(trace, chains),
        n_clean=drifts.count(0),
        n_forked=len(drifts) - drifts.count(0),
        max_drift_tokens=max(drifts, default=0),
        untrainable=untrainable(chains),
        n_replayed=sum(turn.replayed is not None for turn in turns),
        n_errors=sum(not was_aborted(error) for error in trace.errors),
        input_tokens=sum(turn.usage.input_tokens for turn in turns),
        output_tokens=sum(turn.usage.output_tokens for turn in turns),
        policy_version_first=turns[0].policy_version_start if turns else None,
        policy_version_last=turns[-1].policy_version_end if turns else None,
        end_reason=_end_reason(trace.end_reason, turns, trace.errors),
        undelivered=undelivered,
    )


def _end_reason(
    reason: EndReason | None, turns: Sequence[Turn], errors: Sequence[TurnError]
) -> EndReason | None:
    """The session's END, or `context_length` where the last word was an overflow."""
    overflow = [error.slot for error in errors if error.context_overflow]
    last_turn = turns[-1].slot if turns else -1
    if reason in (None, EndReason.STOPPED) and overflow and overflow[-1] > last_turn:
        return EndReason.CONTEXT_LENGTH
    return reason
