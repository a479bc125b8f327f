"""Pausing a workflow, as `temporal workflow pause` does. Waits for nothing."""

from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest
from temporalio.client import Client as Temporal


async def pause(temporal: Temporal, rollout: str) -> None:
    """Pause the newest run of a rollout."""
    await temporal.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(
            namespace=temporal.namespace, workflow_id=rollout, request_id="1", identity="a test"
        )
    )
