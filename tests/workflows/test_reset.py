"""A reset from the UI, at any workflow task: one sandbox at most goes on, none is left."""

import asyncio
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from rolldock.models.result import Stage, Status
from rolldock.store import keys
from rolldock.trainer.client import Client
from rolldock.trainer.housekeeping import OwnedSandbox

if TYPE_CHECKING:
    from tests.workflows.conftest import Bench

HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"
N_TASKS_BY_THEN = 4
"""Workflow tasks before the agent is watched: the start, and one after each stage."""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.mark.parametrize("number", range(N_TASKS_BY_THEN))
async def test_a_reset_under_a_working_agent_leaves_one_sandbox(
    bench: "Bench", number: int
) -> None:
    """Reset to each workflow task so far: the rollout is graded, by one sandbox, and none is left.

    After the create the new run goes on with the old sandbox; before it, the old one is ended.
    """
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    hold = bench.holds.add(spec.id, Stage.AWAIT_AGENT, "before")
    handle = await client.start(spec)
    await hold.reached.wait()
    [before] = await alive(client, spec.id)
    again = bench.holds.add(spec.id, Stage.AWAIT_AGENT, "before")
    await reset(client, spec.id, number)
    hold.let_go.set()
    await again.reached.wait()
    [after] = await alive(client, spec.id)
    assert (after.sandbox.id == before.sandbox.id) == (number > 0)
    again.let_go.set()
    result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(result.attempts) == 1
    await closed(client, spec.id)
    assert await alive(client, spec.id) == []
    if number == 0:
        assert await client.store.get(keys.tombstone(before.sandbox.name)) is not None


@pytest.mark.parametrize("number", [0, 2, -1])
async def test_a_reset_of_a_finished_rollout_closes_as_its_record_says(
    bench: "Bench", number: int
) -> None:
    """The result stands, whatever task the reset goes to, and no sandbox is made for long."""
    client = bench.client
    spec = await client.spec(HELLO, agent="nop")
    handle = await client.start(spec)
    result = await handle.result()
    await closed(client, spec.id)
    await reset(client, spec.id, number)
    assert await closed(client, spec.id) is WorkflowExecutionStatus.COMPLETED
    assert await handle.result() == result
    assert await alive(client, spec.id) == []


async def alive(client: Client, rollout: str) -> list[OwnedSandbox]:
    """The rollout's living sandboxes."""
    return [one for one in await client.sandboxes() if one.sandbox.owner.rollout == rollout]


async def reset(client: Client, rollout: str, number: int) -> None:
    """Reset the newest run to a workflow task, counted from 0, as the UI's button does."""
    handle = client.temporal.get_workflow_handle(rollout)
    history = await handle.fetch_history()
    tasks = [
        event.event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    described = await handle.describe()
    await client.temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.temporal.namespace,
            workflow_execution=WorkflowExecution(workflow_id=rollout, run_id=described.run_id),
            reason="a test",
            workflow_task_finish_event_id=tasks[number],
            request_id=str(uuid.uuid4()),
        )
    )


async def closed(client: Client, rollout: str) -> WorkflowExecutionStatus | None:
    """Wait for the newest run's close; how it closed."""
    handle = client.temporal.get_workflow_handle(rollout)
    while (described := await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
        await asyncio.sleep(0.02)
    return described.status
