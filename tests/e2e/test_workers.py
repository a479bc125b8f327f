"""Workers come, go and stall while rollouts run: no attempt is lost, nothing runs twice."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rolldock.cli.stack.child import Child
from rolldock.cli.stack.program import Program
from rolldock.cli.stack.programs import CHECKOUT
from rolldock.cli.stack.stack import Stack
from rolldock.models.result import RolloutResult, Stage, Status
from rolldock.trainer.client import Client
from tests.e2e.runs import HELLO, TASKS
from tests.e2e.waiting import Waiting, waiting_rollout
from tests.rollouts import alive

WAITING = {
    Stage.SET_UP_SANDBOX: "health-waits",
    Stage.AWAIT_AGENT: "long-wait",
    Stage.GRADE: "tests-wait",
}
"""Tasks that stay in a stage until /tmp/go exists."""
LEFT_BY_ITSELF = "worker_shutdown"
"""The type of the failure with which a try leaves at once; the SDK's own, after its grace, has
another."""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


@asynccontextmanager
async def waiting_in(stack: Stack, client: Client, stage: Stage) -> AsyncGenerator[Waiting, None]:
    """A rollout that has come to a stage and stays there."""
    agent, endpoint = ("bash", "scripted") if stage is Stage.AWAIT_AGENT else ("oracle", None)
    spec = await client.spec(TASKS / WAITING[stage], agent=agent, endpoint=endpoint)
    async with waiting_rollout(stack, client, spec) as waiting:
        yield waiting


@asynccontextmanager
async def another_worker(stack: Stack, tmp_path: Path) -> AsyncGenerator[Child, None]:
    """A second worker process with the settings of the first."""
    environ = await asyncio.to_thread(Path(f"/proc/{stack.processes['worker']}/environ").read_text)
    program = Program(
        name="another-worker",
        command=(str(CHECKOUT / ".venv/bin/python"), str(CHECKOUT / "worker.py")),
        env=dict(entry.split("=", 1) for entry in environ.split("\0") if "=" in entry),
        ready_line="worker ready",
        stop_seconds=40,
    )
    child = Child(program, tmp_path, CHECKOUT, lambda _: None)
    await child.start()
    try:
        yield child
    finally:
        await child.stop()


def assert_untouched(result: RolloutResult) -> None:
    """Graded at the first attempt."""
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(result.attempts) == 1


async def test_a_worker_that_ends_in_order_leaves_the_agent_running(
    stack: Stack, client: Client
) -> None:
    """Its watch is given up at once and taken up again; the agent keeps its process."""
    async with waiting_in(stack, client, Stage.AWAIT_AGENT) as waiting:
        before = await waiting.agent()
        restarting = asyncio.create_task(stack.restart("worker"))
        assert await waiting.last_failure() == LEFT_BY_ITSELF
        await restarting
        assert await waiting.agent() == before
        result = await waiting.let_go()
    assert_untouched(result)
    assert [turn.slot for turn in (await client.trace(result.rollout)).turns] == [0, 1]
    assert await alive(client, result.rollout) == []


@pytest.mark.slow
async def test_a_worker_that_ends_in_order_leaves_the_tests_running(
    stack: Stack, client: Client
) -> None:
    """Tests that run are waited for by another try, and not run again."""
    async with waiting_in(stack, client, Stage.GRADE) as waiting:
        restarting = asyncio.create_task(stack.restart("worker"))
        assert await waiting.last_failure() == LEFT_BY_ITSELF
        await restarting
        assert await waiting.run("cat /tmp/test-runs") == "run\n"
        result = await waiting.let_go()
    assert_untouched(result)
    assert await alive(client, result.rollout) == []


@pytest.mark.slow
async def test_a_stage_cut_short_by_the_grace_is_tried_again(stack: Stack, client: Client) -> None:
    """A setup longer than a worker's grace costs a try, and no attempt."""
    async with waiting_in(stack, client, Stage.SET_UP_SANDBOX) as waiting:
        await stack.restart("worker")
        result = await waiting.let_go()
    assert_untouched(result)
    assert await alive(client, result.rollout) == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(WAITING))
async def test_a_worker_that_stalls_and_comes_back_harms_nothing(
    stack: Stack, client: Client, tmp_path: Path, stage: Stage
) -> None:
    """Past its heartbeat another worker ends the rollout; the first, awake again, changes nothing.

    What it has taken from the queues is given to another after its timeout.
    """
    async with waiting_in(stack, client, stage) as waiting:
        before = await waiting.agent() if stage is Stage.AWAIT_AGENT else ""
        async with another_worker(stack, tmp_path):
            stalled = stack.processes["worker"]
            os.kill(stalled, signal.SIGSTOP)
            try:
                await waiting.last_failure()
                if before:
                    assert await waiting.agent() == before
                result = await waiting.let_go()
                assert_untouched(result)
            finally:
                os.kill(stalled, signal.SIGCONT)
        # Alone again it serves others, and so has done whatever it still wanted to do.
        spec = await client.spec(HELLO, agent="oracle")
        assert_untouched(await (await client.start(spec)).result())
    assert stack.processes["worker"] == stalled
    assert await client.handle(result.rollout).result() == result
    assert await alive(client, result.rollout) == []
