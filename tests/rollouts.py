"""What tests see of a rollout from outside, and do to it as a person at the UI would.

It starts none, and asserts nothing.
"""

import asyncio
import uuid

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from rolldock.sandbox.client import SandboxRequest, SandboxSummary
from rolldock.sandbox.labels import Ownership
from rolldock.trainer.client import Client


async def alive(client: Client, rollout: str) -> list[SandboxSummary]:
    """The rollout's living sandboxes."""
    found = [one.sandbox for one in await client.sandboxes()]
    return [sandbox for sandbox in found if sandbox.owner.rollout == rollout]


async def closed(client: Client, rollout: str) -> WorkflowExecutionStatus | None:
    """Wait for the newest run's close; how it closed."""
    handle = client.temporal.get_workflow_handle(rollout)
    while (described := await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
        await asyncio.sleep(0.02)
    return described.status


async def reset(client: Client, rollout: str, number: int) -> None:
    """Reset the newest run to a workflow task, counted from 0, as the UI's button does."""
    handle = client.temporal.get_workflow_handle(rollout)
    history = await handle.fetch_history()
    tasks = [
        event.event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    before = (await handle.describe()).run_id
    await client.temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.temporal.namespace,
            workflow_execution=WorkflowExecution(workflow_id=rollout, run_id=before),
            reason="a test",
            workflow_task_finish_event_id=tasks[number],
            request_id=str(uuid.uuid4()),
        )
    )
    while (await handle.describe()).run_id == before:
        await asyncio.sleep(0.02)


def host_sandbox(owner: Ownership) -> SandboxRequest:
    """A small sandbox of this machine's own files for an attempt; it may connect to nothing."""
    return SandboxRequest(
        attempt=str(owner.attempt),
        owner=owner,
        image="host",
        cpu_cores=1,
        memory_gb=1,
        disk_gb=1,
        lifetime_minutes=5,
        allowed_hosts=(),
        env={},
    )
