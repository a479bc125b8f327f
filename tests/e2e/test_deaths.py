"""A process of the stack dies while an agent works: nothing is lost, nothing is done twice."""

import asyncio

import pytest

from rolldock.cli.stack.stack import Stack
from rolldock.models.result import Status
from rolldock.trainer.client import Client
from tests.e2e.runs import LONG_WAIT
from tests.e2e.waiting import waiting_rollout

pytestmark = pytest.mark.asyncio(loop_scope="session")


OTHERS = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("gateway", "sandboxd", "temporal")
]


@pytest.mark.parametrize("process", ["worker", *OTHERS])
async def test_kill_9_leaves_the_agent_running(stack: Stack, client: Client, process: str) -> None:
    """The agent's process keeps its pid, its turns are not asked again, and it is graded."""
    spec = await client.spec(LONG_WAIT, agent="bash", endpoint="scripted")
    async with asyncio.timeout(110), waiting_rollout(stack, client, spec) as waiting:
        before = await waiting.agent()
        stack.kill(process)
        await stack.ready(process)
        assert await waiting.agent() == before
        result = await waiting.let_go()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(result.attempts) == 1
    assert result.trace is not None
    trace = await client.trace(spec.id)
    assert [turn.slot for turn in trace.turns] == [0, 1]
