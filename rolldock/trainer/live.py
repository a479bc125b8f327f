"""Open rollouts, from Temporal's list and its counts. What has ended is in the store's index."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import Client as Temporal
from temporalio.common import SearchAttributeKey
from temporalio.converter import decode_typed_search_attributes

from rolldock.models import names
from rolldock.models.base import Contract
from rolldock.trainer.runs import OPEN, list_runs


class LiveRollout(Contract):
    """A rollout that Temporal has open."""

    id: str
    experiment: str
    group: str | None = None
    task: str
    agent: str
    endpoint: str | None
    stage: str
    """As last marked: `create_sandbox`, `await_agent` or `grade`."""
    started_at: datetime


class LiveQuery(Contract):
    """Which open rollouts, all filters together; None: whatever it is."""

    experiment: str | None = None
    group: str | None = None
    task: str | None = None
    agent: str | None = None
    endpoint: str | None = None
    stage: str | None = None
    """As `LiveRollout.stage`."""
    replay_of: str | None = None
    """The id of the rollout that is replayed, or of one further back."""


_ATTRIBUTES = {
    "experiment": names.ATTRIBUTE_EXPERIMENT,
    "group": names.ATTRIBUTE_GROUP,
    "task": names.ATTRIBUTE_TASK,
    "agent": names.ATTRIBUTE_AGENT,
    "endpoint": names.ATTRIBUTE_ENDPOINT,
    "stage": names.ATTRIBUTE_STAGE,
    "replay_of": names.ATTRIBUTE_REPLAY_OF,
}


async def list_live(
    temporal: Temporal, query: LiveQuery | None = None, limit: int | None = None
) -> list[LiveRollout]:
    """The open rollouts, newest first; so many at most."""
    return [_live(found) async for found in list_runs(temporal, _where(query), limit)]


async def count_live(temporal: Temporal, query: LiveQuery | None = None) -> int:
    """How many rollouts are open."""
    return (await temporal.count_workflows(_where(query))).count


async def count_stages(
    temporal: Temporal, query: LiveQuery, stages: Sequence[str]
) -> dict[str, int]:
    """How many open rollouts are in each stage: a count each, since Temporal groups by nothing
    but the status of an execution."""
    counts = await asyncio.gather(
        *(count_live(temporal, query.model_copy(update={"stage": stage})) for stage in stages)
    )
    return dict(zip(stages, counts, strict=True))


def _where(query: LiveQuery | None) -> str:
    given = {} if query is None else query.model_dump(exclude_none=True)
    return " AND ".join(
        [
            f"WorkflowType = '{names.ROLLOUT_WORKFLOW}' AND {OPEN}",
            *(f"{_ATTRIBUTES[field]} = {_quoted(value)}" for field, value in given.items()),
        ]
    )


def _quoted(value: str) -> str:
    """A value as Temporal's list filters read it; it ends where it is meant to, whatever is in it.

    Temporal 1.32 finds no value that holds a backslash or a double quote, however it is written.
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _live(found: WorkflowExecutionInfo) -> LiveRollout:
    attributes = decode_typed_search_attributes(found.search_attributes)

    def value(name: str) -> str | None:
        return attributes.get(SearchAttributeKey.for_keyword(name))

    return LiveRollout(
        id=found.execution.workflow_id,
        experiment=value(names.ATTRIBUTE_EXPERIMENT) or "",
        group=value(names.ATTRIBUTE_GROUP),
        task=value(names.ATTRIBUTE_TASK) or "",
        agent=value(names.ATTRIBUTE_AGENT) or "",
        endpoint=value(names.ATTRIBUTE_ENDPOINT),
        stage=value(names.ATTRIBUTE_STAGE) or "",
        started_at=found.start_time.ToDatetime(UTC),
    )
