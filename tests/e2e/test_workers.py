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
from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Stage, Status
from rolldock.sandbox import jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.trainer.client import Client
from tests.rollouts import alive

TASKS = Path(__file__).parents[2] / "tests" / "tasks"
HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"
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


class Waiting:
    """A rollout that stays in a stage until it is let go."""

    def __init__(self, client: Client, sandboxes: Sandboxes, rollout: str) -> None:
        self._client = client
        self._sandboxes = sandboxes
        self.rollout = rollout
        self.attempt = ""
        self.sandbox_id = ""

    async def there(self) -> None:
        """Wait until it is in its stage."""
        while not self.sandbox_id or not await self._has("/tmp/waiting"):
            for sandbox in await alive(self._client, self.rollout):
                self.sandbox_id = sandbox.id
                self.attempt = str(sandbox.owner.attempt)

    async def let_go(self) -> RolloutResult:
        """Let it end, and return what it came to."""
        await self.run("touch /tmp/go")
        return await self._client.handle(self.rollout).result()

    async def agent(self) -> str:
        """Pid and start time of the agent's process."""
        launch, _, _, _ = jobs.paths(jobs.job_id(self.attempt))
        return await self.run(f"p=$(cat {launch}/pid) && echo $p && cut -d' ' -f22 /proc/$p/stat")

    async def last_failure(self) -> str:
        """The type of the failure of the stage's last try, waited for."""
        handle = self._client.temporal.get_workflow_handle(self.rollout)
        while True:
            described = await handle.describe()
            for pending in described.raw_description.pending_activities:
                if pending.HasField("last_failure"):
                    return pending.last_failure.application_failure_info.type
            await asyncio.sleep(0.05)

    async def run(self, command: str) -> str:
        """The output of a command that succeeds."""
        done = await self._sandboxes.run(
            self.sandbox_id, command, timeout_seconds=10, otherwise=Cause.INTERNAL
        )
        assert done.exit_code == 0, done.stderr
        return done.stdout

    async def _has(self, path: str) -> bool:
        try:
            done = await self._sandboxes.run(
                self.sandbox_id, f"test -e {path}", timeout_seconds=10, otherwise=Cause.INTERNAL
            )
        except StageError:
            return False  # it is still being made
        return done.exit_code == 0


@asynccontextmanager
async def waiting_in(stack: Stack, client: Client, stage: Stage) -> AsyncGenerator[Waiting, None]:
    """A rollout that has come to a stage and stays there."""
    settings = stack.settings
    agent, endpoint = ("bash", "scripted") if stage is Stage.AWAIT_AGENT else ("oracle", None)
    spec = await client.spec(TASKS / WAITING[stage], agent=agent, endpoint=endpoint)
    handle = await client.start(spec)
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes:
        waiting = Waiting(client, sandboxes, spec.id)
        async with asyncio.timeout(60):
            await waiting.there()
        try:
            yield waiting
        finally:
            await handle.cancel()


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
