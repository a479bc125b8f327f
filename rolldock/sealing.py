"""Sealing an attempt: its session becomes a trace, and the last attempt becomes the result.

Whoever comes first writes, whoever comes later reads what is there: the rollout's own workflow, or
after its end from outside the reaper and whoever asks for the result.
"""

import logging
from datetime import datetime
from typing import Final

from rolldock.agents.registry import agent_of
from rolldock.gateway.seal import seal
from rolldock.models.result import AttemptResult, RolloutResult
from rolldock.models.stages import SealRequest
from rolldock.results import build_result, commit
from rolldock.store.recordings import RecordingDeletedError
from rolldock.store.store import Store

_log = logging.getLogger(__name__)

_ERROR_CHARACTERS: Final = 2000


async def seal_attempt(store: Store, request: SealRequest, now: datetime) -> AttemptResult:
    """The attempt with its trace; an agent that calls no model has none, and an attempt that only
    grades comes with the trace of the one whose work it grades.

    A session whose records cannot be read costs the trace, never the result: the error is kept,
    the records stay in the store, and what was graded is not lost with them.

    Raises:
        UnavailableError: the store does not answer.
    """
    attempt = request.attempt.model_copy(update={"ended_at": now})
    spec = request.order.spec
    agent = agent_of(spec.agent)
    if agent.dialect is None or spec.only_grades:
        return attempt
    try:
        rollout = request.order.rollout
        trace = await seal(
            store, attempt.attempt, rollout, now, rule=agent.auxiliary, policy=spec.auxiliary
        )
    except RecordingDeletedError as error:
        return attempt.model_copy(update={"trace_error": str(error)})
    except (ValueError, KeyError) as error:
        _log.exception("attempt %s: its session cannot be sealed", attempt.attempt)
        said = f"{type(error).__name__}: {error}"
        return attempt.model_copy(update={"trace_error": said[:_ERROR_CHARACTERS]})
    return attempt.model_copy(update={"trace": trace})


async def seal_rollout(store: Store, request: SealRequest, now: datetime) -> RolloutResult:
    """Seal the last attempt and commit the result; the one that stands, whoever wrote it.

    Raises:
        UnavailableError: the store does not answer.
    """
    sealed = await seal_attempt(store, request, now)
    return await commit(store, build_result(request.model_copy(update={"attempt": sealed}), now))
