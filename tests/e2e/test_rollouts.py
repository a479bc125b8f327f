"""Whole rollouts on a real stack: real sandboxes, real agents, the real gateway."""

import asyncio
import uuid
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType

from rolldock.errors import UsageError
from rolldock.models.failure import Cause
from rolldock.models.result import Status, StopReason
from rolldock.trainer.client import Client
from tests.e2e.runs import EXAMPLES, HELLO, LONG_WAIT, NO_SCRIPT, TASKS, run, sent_bodies
from tests.rollouts import alive

EACH_EXAMPLE = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())
MAX_EVENTS = 70
MAX_ACTIVITIES = 9

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("task", EACH_EXAMPLE, ids=lambda path: path.name)
async def test_each_example_task_is_solved_by_its_solution(client: Client, task: Path) -> None:
    """The oracle earns reward 1 on every example, and leaves no sandbox."""
    result = await run(client, task, "oracle")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert await alive(client, result.rollout) == []


@pytest.mark.parametrize("task", EACH_EXAMPLE, ids=lambda path: path.name)
async def test_each_example_task_is_solved_by_the_scripted_bash_agent(
    client: Client, task: Path
) -> None:
    """The baseline agent works through the gateway: every turn recorded, reward 1."""
    result = await run(client, task, "bash", "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.trace is not None
    assert result.trace.n_turns >= 2
    assert result.trace.output_tokens > 0


@pytest.mark.parametrize("agent", ["bash", "opencode"])
async def test_every_byte_can_be_rebuilt_from_the_trace(client: Client, agent: str) -> None:
    """Each request and reply of a real agent comes back from the trace to its stored digest."""
    result = await run(client, HELLO, agent, "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(await sent_bodies(client, result)) >= 2


async def test_a_task_failed_is_a_result_with_reward_0(client: Client) -> None:
    """An agent that does nothing is graded: completed, reward 0."""
    result = await run(client, HELLO, "nop")
    assert (result.status, result.reward) == (Status.COMPLETED, 0.0)
    assert result.reward_valid


async def test_a_wrong_solution_is_graded_0(client: Client) -> None:
    """A task whose own solution is wrong: reward 0, completed."""
    result = await run(client, TASKS / "wrong-solution", "oracle")
    assert (result.status, result.reward) == (Status.COMPLETED, 0.0)


async def test_tests_that_write_no_reward_give_none(client: Client) -> None:
    """A test.sh without a reward file: failed, `reward_invalid`, no reward, never graded again."""
    result = await run(client, TASKS / "no-reward", "oracle")
    assert (result.status, result.reward, result.reward_valid) == (Status.FAILED, None, False)
    assert result.failure is not None
    assert result.failure.cause is Cause.REWARD_INVALID
    assert len(result.attempts) == 1
    assert await alive(client, result.rollout) == []


async def test_an_image_that_is_not_there_fails_at_once(client: Client) -> None:
    """A local server has only its own system: another image is refused, without new attempts."""
    result = await run(client, HELLO, "nop", image="ubuntu:24.04")
    assert result.status is Status.FAILED
    assert result.failure is not None
    assert result.failure.cause is Cause.IMAGE_UNAVAILABLE
    assert "--image host" in result.failure.message
    assert len(result.attempts) == 1


async def test_a_reached_turn_budget_ends_the_agent_and_is_graded(client: Client) -> None:
    """max_turns 1: the session ends with its budget's error and the tests still run."""
    result = await run(client, HELLO, "bash", "scripted", limits={"max_turns": 1})
    assert result.status is Status.COMPLETED, result.failure
    assert result.stop_reason is StopReason.MAX_TURNS
    assert result.trace is not None
    assert result.trace.n_turns == 1


async def test_starting_twice_reattaches_and_another_spec_is_refused(client: Client) -> None:
    """The id is the rollout: the same spec finds it, running and done, another is refused."""
    name = f"twice/{uuid.uuid4().hex[:8]}"
    spec = await client.spec(HELLO, agent="oracle", id=name)
    first, second = await asyncio.gather(client.start(spec), client.start(spec))
    results = await asyncio.gather(first.result(), second.result())
    assert results[0] == results[1]
    assert (await (await client.start(spec)).result()) == results[0]
    other = spec.model_copy(update={"attempts": 1})
    with pytest.raises(UsageError, match="attempts"):
        await client.start(other)


async def test_a_stop_signal_ends_the_agent_and_grades_it(client: Client) -> None:
    """`stop` ends a working agent; its work is graded with stop reason `stopped`."""
    spec = await client.spec(LONG_WAIT, agent="bash", endpoint="scripted")
    handle = await client.start(spec)
    await until_stage(client, spec.id, "await_agent")
    await handle.stop()
    result = await handle.result()
    assert (result.status, result.stop_reason) == (Status.COMPLETED, StopReason.STOPPED)
    assert await alive(client, spec.id) == []


async def test_an_agent_past_its_deadline_is_ended_and_graded(client: Client) -> None:
    """agent_seconds over: the agent is ended, the work is graded, stop reason `agent_timeout`."""
    result = await run(client, LONG_WAIT, "bash", "scripted", limits={"agent_seconds": 2})
    assert (result.status, result.stop_reason) == (Status.COMPLETED, StopReason.AGENT_TIMEOUT)


async def test_a_model_server_that_fails_is_no_reward(client: Client) -> None:
    """An agent whose every call is refused failed to reach a model: no reward, its own cause."""
    result = await run(client, NO_SCRIPT, "bash", "scripted")
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert result.failure.cause is Cause.NO_MODEL_CALL


async def test_the_happy_path_stays_within_its_budget_of_events(client: Client) -> None:
    """At most 9 activities and 70 history events, so that thousands fit one server."""
    result = await run(client, HELLO, "bash", "scripted")
    history = await client.temporal.get_workflow_handle(result.rollout).fetch_history()
    scheduled = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    n_activities = sum(event.event_type == scheduled for event in history.events)
    assert n_activities <= MAX_ACTIVITIES
    assert len(history.events) <= MAX_EVENTS


async def test_many_rollouts_are_run_a_few_at_a_time(client: Client) -> None:
    """`run` yields every result, never with more in flight than asked."""
    specs = [await client.spec(HELLO, agent="oracle") for _ in range(6)]
    results = [result async for result in client.run(specs, max_in_flight=3)]
    assert sorted(result.rollout for result in results) == sorted(spec.id for spec in specs)
    assert {result.reward for result in results} == {1.0}


async def until_stage(client: Client, rollout: str, stage: str) -> None:
    """Wait until a rollout is in a stage."""
    async with asyncio.timeout(30):
        while (await client.handle(rollout).status()).stage != stage:
            await asyncio.sleep(0.02)
