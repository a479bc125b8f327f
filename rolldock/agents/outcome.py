"""What an agent's end means, from its exit code and its session: pure rules, no I/O."""

from typing import Final

from rolldock.agents.agent import Agent
from rolldock.errors import RETRIES
from rolldock.models.failure import Cause, Failure
from rolldock.models.result import Stage, StopReason
from rolldock.models.session import EndReason, SessionFacts

_BUDGETS: Final = {
    EndReason.MAX_TURNS: StopReason.MAX_TURNS,
    EndReason.TOKEN_BUDGET: StopReason.TOKEN_BUDGET,
    EndReason.CONTEXT_LENGTH: StopReason.CONTEXT_LENGTH,
    EndReason.AGENT_TIMEOUT: StopReason.AGENT_TIMEOUT,
}
_ENDED_BY_ITSELF: Final = frozenset({StopReason.AGENT_COMPLETED, StopReason.AGENT_ERROR})


def stop_reason(observed: StopReason, facts: SessionFacts) -> StopReason:
    """Why the agent ended: a reached budget explains whatever exit code followed it."""
    if facts.end_reason is None or observed not in _ENDED_BY_ITSELF:
        return observed
    return _BUDGETS.get(facts.end_reason, observed)


def session_over(reason: EndReason) -> StopReason | None:
    """The stop reason of a session whose END its agent may outlive; None: it was ended by whoever
    ends the agent too."""
    if reason in (EndReason.REPLAY_DIVERGED, EndReason.REPLAY_UNAVAILABLE):
        return StopReason.AGENT_ERROR
    return budget_reached(reason)


def budget_reached(reason: EndReason) -> StopReason | None:
    """The stop reason of a session that a budget ended; None: it was ended otherwise."""
    return _BUDGETS.get(reason)


def failure(agent: Agent, reason: StopReason, facts: SessionFacts) -> Failure | None:
    """Why an agent's end gives nothing to grade; None: grade it."""
    if facts.end_reason is EndReason.REPLAY_DIVERGED:
        why = facts.divergence or "the agent asked what was not recorded"
        return _failure(Cause.REPLAY_DIVERGED, why)
    if facts.end_reason is EndReason.REPLAY_UNAVAILABLE:
        return _failure(Cause.REPLAY_UNAVAILABLE, facts.end_detail or "its recording is gone")
    if agent.dialect is None or reason not in _ENDED_BY_ITSELF:
        return None
    if facts.undelivered:
        return _failure(
            Cause.GATEWAY_LOST, "the agent ended although its last turn was never delivered to it"
        )
    if not facts.has_turn:
        said = f"; the model server's last word: {facts.last_error}" if facts.last_error else ""
        return _failure(
            Cause.NO_MODEL_CALL,
            f"{agent.name} ended without one answered model call: its logs say why{said}",
        )
    return None


def _failure(cause: Cause, message: str) -> Failure:
    return Failure(
        stage=Stage.STOP_AGENT, cause=cause, message=message, retryable=RETRIES[cause].new_attempt
    )
