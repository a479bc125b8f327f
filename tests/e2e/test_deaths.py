"""A process of the stack dies while an agent works: nothing is lost, nothing is done twice."""

import asyncio
from pathlib import Path

import pytest

from rolldock.cli.stack.stack import Stack
from rolldock.models.failure import Cause
from rolldock.models.result import Status
from rolldock.sandbox import jobs
from rolldock.sandbox.client import Sandboxes, SandboxSummary
from rolldock.trainer.client import Client
from tests.rollouts import alive

LONG_WAIT = Path(__file__).parents[2] / "tests" / "tasks" / "long-wait"

pytestmark = pytest.mark.asyncio(loop_scope="session")


OTHERS = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("gateway", "sandboxd", "temporal")
]


@pytest.mark.parametrize("process", ["worker", *OTHERS])
async def test_kill_9_leaves_the_agent_running(stack: Stack, client: Client, process: str) -> None:
    """The agent's process keeps its pid, its turns are not asked again, and it is graded."""
    spec = await client.spec(LONG_WAIT, agent="bash", endpoint="scripted")
    handle = await client.start(spec)
    settings = stack.settings
    async with (
        asyncio.timeout(110),
        Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes,
    ):
        sandbox = await _once_waiting(client, sandboxes, spec.id)
        before = await _agent(sandboxes, sandbox)
        stack.kill(process)
        await stack.ready(process)
        assert await _agent(sandboxes, sandbox) == before
        await _run(sandboxes, sandbox, "touch /tmp/go")
        result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(result.attempts) == 1
    assert result.trace is not None
    trace = await client.trace(spec.id)
    assert [turn.slot for turn in trace.turns] == [0, 1]


async def _once_waiting(client: Client, sandboxes: Sandboxes, rollout: str) -> SandboxSummary:
    """The rollout's sandbox, once its agent waits for /tmp/go."""
    while True:
        for one in await alive(client, rollout):
            # One that is still being made is listed too, and runs no commands yet.
            if one.status == "RUNNING":
                seen = await sandboxes.run(
                    one.id,
                    "test -e /tmp/waiting",
                    timeout_seconds=10,
                    otherwise=Cause.INTERNAL,
                )
                if seen.exit_code == 0:
                    return one


async def _agent(sandboxes: Sandboxes, sandbox: SandboxSummary) -> str:
    """Pid and start time of the agent's process."""
    launch, _, _, _ = jobs.paths(jobs.job_id(str(sandbox.owner.attempt)))
    command = f"p=$(cat {launch}/pid) && echo $p && cut -d' ' -f22 /proc/$p/stat"
    return await _run(sandboxes, sandbox, command)


async def _run(sandboxes: Sandboxes, sandbox: SandboxSummary, command: str) -> str:
    done = await sandboxes.run(sandbox.id, command, timeout_seconds=10, otherwise=Cause.INTERNAL)
    assert done.exit_code == 0, done.stderr
    return done.stdout
