"""What no agent may do otherwise than the others, as they come from npm and PyPI."""

import pytest

from rolldock.models.failure import Cause
from rolldock.models.result import Status, StopReason
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.e2e.real_agents import HASTY, NPM_AGENTS, PYTHON_AGENTS
from tests.e2e.runs import HELLO, NO_SCRIPT, run

AGENTS = [
    *NPM_AGENTS,
    *(pytest.param(name, marks=pytest.mark.timeout(400)) for name in PYTHON_AGENTS),
]

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest) -> str:
    """An agent that is installed in the cache of the stack."""
    return installed(str(request.param))


async def test_a_reached_budget_ends_it(client: Client, agent: str) -> None:
    """max_turns 1: the second call is refused, and the work so far is graded."""
    result = await run(client, HELLO, agent, "scripted", limits={"max_turns": 1})
    assert result.status is Status.COMPLETED, result.failure
    assert result.stop_reason is StopReason.MAX_TURNS
    assert result.trace is not None
    assert result.trace.n_turns == 1


async def test_without_an_answer_it_has_failed(client: Client, agent: str) -> None:
    """A model server that refuses every call is no reward, and no agent that is done."""
    result = await run(client, NO_SCRIPT, agent, "scripted", options=HASTY.get(agent))
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert result.failure.cause is Cause.NO_MODEL_CALL
    assert result.stop_reason is StopReason.AGENT_ERROR
