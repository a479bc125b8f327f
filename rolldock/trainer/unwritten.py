"""Rollouts that were ended from outside: found in Temporal's list, given the result they lack."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecutionStatus

from rolldock.errors import RolldockError
from rolldock.models import names
from rolldock.store import keys
from rolldock.store.store import Store
from rolldock.trainer.ended import write_result_of

_LOOKED_BACK: Final = timedelta(days=1)
"""What ended earlier gets its result when somebody asks for it."""

_QUERY: Final = (
    f"WorkflowType = '{names.ROLLOUT_WORKFLOW}' AND (ExecutionStatus = 'Terminated' OR "
    "ExecutionStatus = 'TimedOut' OR (ExecutionStatus = 'Failed' AND "
    f"{names.ATTRIBUTE_OUTCOME} = '{names.NO_OUTCOME}'))"
)


async def without_result(temporal: Temporal, store: Store) -> AsyncIterator[str]:
    """The ids of rollouts that ended lately, from outside, and have no record.

    Raises:
        UnavailableError: the store does not answer.
    """
    since = (datetime.now(UTC) - _LOOKED_BACK).isoformat()
    seen: set[str] = set()
    async for found in temporal.list_workflows(f"{_QUERY} AND CloseTime > '{since}'"):
        if found.id not in seen:
            seen.add(found.id)
            if await store.get(keys.result(found.id)) is None:
                yield found.id


async def write_result(temporal: Temporal, store: Store, rollout: str) -> str | None:
    """Write the result of a rollout that has ended; None, or why it could not be written.

    A rollout that runs again, after a reset, is left to its own workflow.
    """
    try:
        described = await temporal.get_workflow_handle(rollout).describe()
        if described.status is not WorkflowExecutionStatus.RUNNING:
            await write_result_of(temporal, store, described, by="reaper")
    except RolldockError as error:
        return str(error)
    return None
