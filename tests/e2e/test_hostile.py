"""Agents, tests and health checks that will not end: each is ended on time, and nothing is left."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress

import pytest
import pytest_asyncio
from temporalio.client import WorkflowFailureError

from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.processes import processes_of
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Delay, Fault
from rolldock.models import names
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Stage, Status, StopReason
from rolldock.models.stages import RolloutRequest
from rolldock.trainer.client import Client
from rolldock.trainer.specs import spec_digest
from tests.e2e.runs import TASKS
from tests.rollouts import alive

STATUSES = r"/api/v1/sandbox/background-jobs/status:batchGet"
SLACK_SECONDS = 12
"""What a busy machine may take for everything around a limit."""
TAIL_BYTES = 1024 * 1024
"""What is kept of a log that is too large to be kept."""

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(
    client: Client, task: str, *, attempts: int = 3, limits: Mapping[str, float]
) -> RolloutResult:
    """One rollout of the oracle, whose work is the hostile solution of a task."""
    spec = await client.spec(TASKS / task, agent="oracle", limits=limits, attempts=attempts)
    return await (await client.start(spec)).result()


async def hostile_processes(stack: Stack) -> list[str]:
    """The command lines of what the tasks here start; all have the word in their name."""
    commands = await asyncio.to_thread(processes_of, stack.home.root)
    return [command for command in commands.values() if command.startswith("hostile-")]


async def assert_nothing_left(stack: Stack, client: Client, rollout: str) -> None:
    """No sandbox of it, and nothing of what ran in it on this machine."""
    async with asyncio.timeout(10):
        while await alive(client, rollout):
            await asyncio.sleep(0.05)
    assert await hostile_processes(stack) == []


@pytest.mark.slow
async def test_an_agent_that_ignores_sigterm_is_killed_and_graded(
    stack: Stack, client: Client
) -> None:
    """Past its seconds and the grace it is killed with its group; the tests find nothing of it."""
    running = asyncio.create_task(run(client, "agent-deaf", limits={"agent_seconds": 2}))
    while not await hostile_processes(stack):
        await asyncio.sleep(0.05)
    result = await running
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_TIMEOUT
    assert len(result.attempts) == 1
    assert result.timings[Stage.AWAIT_AGENT] < 2 + SLACK_SECONDS
    assert result.timings[Stage.STOP_AGENT] < 5 + SLACK_SECONDS
    await assert_nothing_left(stack, client, result.rollout)


async def test_services_that_an_agent_leaves_live_until_the_sandbox_goes(
    stack: Stack, client: Client
) -> None:
    """Daemons in sessions of their own hold nothing up: graded beside them, gone with it."""
    result = await run(client, "agent-forks", limits={"agent_seconds": 30})
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    await assert_nothing_left(stack, client, result.rollout)


async def test_an_agent_that_wrecks_its_place_is_graded_once(stack: Stack, client: Client) -> None:
    """Its work directory removed, more files left than are kept: the tests run, the reward counts.

    Its solution and its tests have lost their executable bit, as an archive may lose it.
    """
    result = await run(client, "agent-wrecks", limits={"agent_seconds": 30})
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert len(result.attempts) == 1
    kept = {artifact.name: artifact.digest for artifact in result.artifacts}
    said = await client.store.get_blob(kept["verifier/test-stdout.txt"])
    assert b"the work directory /app cannot be entered: the tests run in /" in said
    await assert_nothing_left(stack, client, result.rollout)


async def test_an_agent_and_tests_that_empty_tmp_are_not_lost(stack: Stack, client: Client) -> None:
    """Each goes on until its pid is written down again; neither is run a second time."""
    result = await run(client, "agent-empties-tmp", limits={"agent_seconds": 60})
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert len(result.attempts) == 1
    await assert_nothing_left(stack, client, result.rollout)


async def test_a_variable_that_the_tests_lack_is_missed_before_the_agent_works(
    client: Client,
) -> None:
    """`task_invalid` at set-up, with the name: no agent is paid for work that cannot be graded."""
    result = await run(client, "needs-variable", limits={"agent_seconds": 30})
    assert result.failure is not None
    assert (result.failure.stage, result.failure.cause) == (
        Stage.SET_UP_SANDBOX,
        Cause.TASK_INVALID,
    )
    assert "ROLLDOCK_TEST_ABSENT" in result.failure.message
    assert Stage.START_AGENT not in result.timings
    assert len(result.attempts) == 1


@pytest.mark.slow
async def test_output_without_end_is_cut_and_graded(stack: Stack, client: Client) -> None:
    """The last part of it is kept, also while a leftover process goes on writing."""
    result = await run(client, "agent-floods", limits={"agent_seconds": 3})
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_TIMEOUT
    kept = {artifact.name: artifact for artifact in result.artifacts}
    assert kept["agent/oracle.txt"].truncated
    assert kept["agent/oracle.txt"].n_bytes == TAIL_BYTES
    assert "agent/endless.bin" in kept
    await assert_nothing_left(stack, client, result.rollout)


@pytest.mark.parametrize("task", ["tests-hang", pytest.param("tests-deaf", marks=pytest.mark.slow)])
async def test_tests_that_do_not_end_are_ended_and_not_graded_again(
    stack: Stack, client: Client, task: str
) -> None:
    """`verifier_timeout`, no reward even if one was written, the logs kept, one attempt."""
    result = await run(client, task, limits={"grade_seconds": 1})
    assert (result.status, result.reward, result.reward_valid) == (Status.FAILED, None, False)
    assert result.failure is not None
    assert (result.failure.stage, result.failure.cause) == (Stage.GRADE, Cause.VERIFIER_TIMEOUT)
    assert not result.failure.retryable
    assert result.timings[Stage.GRADE] < 1 + SLACK_SECONDS
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert len(result.attempts) == 1
    assert "verifier/test-stdout.txt" in {artifact.name for artifact in result.artifacts}
    await assert_nothing_left(stack, client, result.rollout)


@pytest.mark.slow
async def test_a_health_check_that_hangs_fails_the_setup(stack: Stack, client: Client) -> None:
    """Each look has its own seconds; then `setup_failed`, and no tests are run."""
    result = await run(client, "health-hangs", attempts=1, limits={"setup_seconds": 20})
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert (result.failure.stage, result.failure.cause) == (
        Stage.SET_UP_SANDBOX,
        Cause.SETUP_FAILED,
    )
    assert "health check failed 2 times" in result.failure.message
    await assert_nothing_left(stack, client, result.rollout)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def faulty(
    stack_options: Callable[[bool], StackOptions],
) -> AsyncGenerator[Stack, None]:
    """A stack whose servers do wrong when they are told to."""
    options = stack_options(True).model_copy(update={"faults": True})
    async with Stack(options) as running:
        yield running


@pytest.mark.slow
async def test_a_total_that_ends_during_a_create_ends_the_rollout(faulty: Stack) -> None:
    """The create ends well, after the deadline: `deadline_exceeded`, and its sandbox is deleted."""
    settings = faulty.settings
    client = await Client.connect(settings)
    spec = await client.spec(TASKS / "agent-deaf", agent="oracle", limits={"total_seconds": 3})
    async with FaultClient(str(settings.prime_api_base_url), settings.prime_api_key) as faults:
        await faults.add(
            Fault(method="POST", path="/api/v1/sandbox", action=Delay(seconds=5, when="after"))
        )
        # Straight to Temporal: the client refuses so short a total.
        await client.temporal.start_workflow(
            names.ROLLOUT_WORKFLOW,
            RolloutRequest(spec=spec, spec_digest=spec_digest(spec)),
            id=spec.id,
            task_queue=names.ROLLOUT_QUEUE,
        )
        result = await client.handle(spec.id).result()
    assert result.status is Status.FAILED
    assert result.failure is not None
    assert result.failure.cause is Cause.DEADLINE_EXCEEDED
    with suppress(WorkflowFailureError):
        await client.temporal.get_workflow_handle(spec.id).result()
    assert await client.sandboxes() == []


@pytest.mark.slow
async def test_polls_that_hang_delay_neither_deadline(faulty: Stack) -> None:
    """With an API that never says how a job is: the agent is ended on time, and graded."""
    settings = faulty.settings
    client = await Client.connect(settings)
    async with FaultClient(str(settings.prime_api_base_url), settings.prime_api_key) as faults:
        hung = await faults.add(
            Fault(method="POST", path=STATUSES, action=Delay(seconds=60), times=None)
        )
        limits = {"agent_seconds": 2, "grade_seconds": 2}
        result = await run(client, "agent-deaf", limits=limits)
        assert await faults.hits(hung) > 0
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_TIMEOUT
    assert len(result.attempts) == 1
    # A look that is out at a deadline has five seconds more.
    assert result.timings[Stage.AWAIT_AGENT] < 2 + 5 + SLACK_SECONDS
    assert result.timings[Stage.GRADE] < 2 + 5 + SLACK_SECONDS
    assert await client.sandboxes() == []
