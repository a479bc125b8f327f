"""What an agent's end means: the whole table, from exit code and session to stop reason."""

import pytest

from rolldock.agents import outcome
from rolldock.agents.agent import Agent, Launch
from rolldock.models.failure import Cause
from rolldock.models.result import StopReason
from rolldock.models.session import EndReason, SessionFacts

CALLER = Agent(
    name="caller", version="1", dialect="openai.chat", launch=lambda _: Launch(command=":")
)
SILENT = Agent(name="silent", version="1", launch=lambda _: Launch(command=":"))

BUDGETS: dict[EndReason | None, StopReason] = {
    EndReason.MAX_TURNS: StopReason.MAX_TURNS,
    EndReason.TOKEN_BUDGET: StopReason.TOKEN_BUDGET,
    EndReason.CONTEXT_LENGTH: StopReason.CONTEXT_LENGTH,
    EndReason.AGENT_TIMEOUT: StopReason.AGENT_TIMEOUT,
}
BY_ITSELF = (StopReason.AGENT_COMPLETED, StopReason.AGENT_ERROR)


@pytest.mark.parametrize("end", [None, *EndReason])
@pytest.mark.parametrize("observed", list(StopReason))
def test_the_stop_reason(observed: StopReason, end: EndReason | None) -> None:
    """A budget explains an agent that ended by itself; nothing else is explained away."""
    expected = observed
    if observed in BY_ITSELF and end in BUDGETS:
        expected = BUDGETS[end]
    assert outcome.stop_reason(observed, SessionFacts(end_reason=end)) is expected


@pytest.mark.parametrize("end", list(EndReason))
def test_which_ends_are_budgets(end: EndReason) -> None:
    """Only a budget's END stops an agent that still runs."""
    assert outcome.budget_reached(end) is BUDGETS.get(end)


@pytest.mark.parametrize("reason", list(StopReason))
@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        (SessionFacts(has_turn=True), None),
        (SessionFacts(has_turn=False), Cause.NO_MODEL_CALL),
        (SessionFacts(has_turn=True, undelivered=True), Cause.GATEWAY_LOST),
        (SessionFacts(has_turn=False, undelivered=True), Cause.GATEWAY_LOST),
    ],
)
def test_what_gives_nothing_to_grade(
    reason: StopReason, facts: SessionFacts, cause: Cause | None
) -> None:
    """Only the end of an agent by itself is doubted: by a lost turn, then by no turn at all."""
    failure = outcome.failure(CALLER, reason, facts)
    expected = cause if reason in BY_ITSELF else None
    assert (failure.cause if failure else None) == expected


@pytest.mark.parametrize("reason", list(StopReason))
def test_an_agent_that_calls_no_model_is_always_graded(reason: StopReason) -> None:
    """It has no session that could have lost anything."""
    assert outcome.failure(SILENT, reason, SessionFacts(undelivered=True)) is None


def test_a_lost_turn_is_worth_a_new_attempt_and_a_silent_agent_is_not() -> None:
    """Which failure may be mended by a fresh sandbox follows from its cause."""
    lost = outcome.failure(CALLER, StopReason.AGENT_ERROR, SessionFacts(undelivered=True))
    silent = outcome.failure(CALLER, StopReason.AGENT_ERROR, SessionFacts())
    assert lost is not None
    assert silent is not None
    assert (lost.retryable, silent.retryable) == (True, False)


def test_the_model_servers_last_word_is_passed_on() -> None:
    """Who reads the failure learns why the agent never got an answer."""
    facts = SessionFacts(last_error="HTTP 401: no such key")
    failure = outcome.failure(CALLER, StopReason.AGENT_ERROR, facts)
    assert failure is not None
    assert failure.message.endswith("; the model server's last word: HTTP 401: no such key")


@pytest.mark.parametrize("reason", list(StopReason))
def test_a_replay_that_diverged_is_a_failure(reason: StopReason) -> None:
    """However the agent took it: the report's sentence is the failure's, and nothing is graded."""
    facts = SessionFacts(
        has_turn=True, end_reason=EndReason.REPLAY_DIVERGED, divergence="turn 1: tools differ"
    )
    failure = outcome.failure(CALLER, reason, facts)
    assert failure is not None
    assert (failure.cause, failure.retryable) == (Cause.REPLAY_DIVERGED, False)
    assert failure.message == "turn 1: tools differ"


def test_a_replay_whose_recording_cannot_be_played_is_a_failure() -> None:
    """It is no agent that never called its model: END says what is gone or damaged."""
    end = EndReason.REPLAY_UNAVAILABLE
    facts = SessionFacts(end_reason=end, end_detail="turn 3: blob abc is not there")
    failure = outcome.failure(CALLER, StopReason.AGENT_ERROR, facts)
    assert failure is not None
    assert (failure.cause, failure.retryable) == (Cause.REPLAY_UNAVAILABLE, False)
    assert failure.message == "turn 3: blob abc is not there"


def test_a_replay_that_cannot_go_on_ends_its_agent() -> None:
    """Like a budget, and unlike an END that is written by whoever ends the agent."""
    assert outcome.session_over(EndReason.REPLAY_DIVERGED) is StopReason.AGENT_ERROR
    assert outcome.session_over(EndReason.REPLAY_UNAVAILABLE) is StopReason.AGENT_ERROR
    assert outcome.session_over(EndReason.STOPPED) is None
    assert outcome.session_over(EndReason.MAX_TURNS) is StopReason.MAX_TURNS
