"""Open rollouts, from Temporal's list."""

from datetime import datetime

from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecution
from temporalio.common import SearchAttributeKey

from rolldock.models import names
from rolldock.models.base import Contract


class LiveRollout(Contract):
    """A rollout that Temporal has open."""

    id: str
    experiment: str
    task: str
    agent: str
    endpoint: str | None
    stage: str
    """As last marked: `create_sandbox`, `await_agent` or `grade`."""
    started_at: datetime


async def list_live(temporal: Temporal) -> list[LiveRollout]:
    """The open rollouts, newest first."""
    query = f"WorkflowType = '{names.ROLLOUT_WORKFLOW}' AND ExecutionStatus = 'Running'"
    return [_live(found) async for found in temporal.list_workflows(query)]


def _live(found: WorkflowExecution) -> LiveRollout:
    attributes = found.typed_search_attributes

    def value(name: str) -> str | None:
        return attributes.get(SearchAttributeKey.for_keyword(name))

    return LiveRollout(
        id=found.id,
        experiment=value(names.ATTRIBUTE_EXPERIMENT) or "",
        task=value(names.ATTRIBUTE_TASK) or "",
        agent=value(names.ATTRIBUTE_AGENT) or "",
        endpoint=value(names.ATTRIBUTE_ENDPOINT),
        stage=value(names.ATTRIBUTE_STAGE) or "",
        started_at=found.start_time,
    )
