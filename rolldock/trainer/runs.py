"""What Temporal knows of a rollout's runs, for whoever must not act on a living one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from rolldock.errors import UnavailableError
from rolldock.sandbox.reaping import RunState

CLOSED: Final = frozenset(
    {
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.COMPLETED,
        WorkflowExecutionStatus.CONTINUED_AS_NEW,
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
    }
)
"""Whatever else a status says, such as that a run is paused, the run is not over."""
OPEN: Final = " AND ".join(
    f"ExecutionStatus != '{status.name.title().replace('_', '')}'"
    for status in sorted(CLOSED, key=lambda status: status.name)
)
"""The same as a query. It names no state that an older server does not know."""

_PAGE: Final = 1000
"""Of a list, at most: Temporal's own limit."""
_KNOWN: Final = frozenset(int(status) for status in WorkflowExecutionStatus)
_FORGOTTEN: Final = RunState(is_open=False, why="Temporal knows no such rollout (any more)")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as Temporal describes it now."""

    id: str
    """Of the rollout."""
    run_id: str
    status: WorkflowExecutionStatus | None
    """None: one that the SDK does not know, such as that it is paused."""
    start_time: datetime
    close_time: datetime | None
    description: DescribeWorkflowExecutionResponse

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.status not in CLOSED


async def describe(temporal: Temporal, rollout: str, run: str | None = None) -> Run:
    """A run, by default the newest of its rollout.

    Asked for below the SDK, which describes no run whose state it does not know.

    Raises:
        RPCError: Temporal does not answer, or knows no such run (any more).
    """
    request = DescribeWorkflowExecutionRequest(
        namespace=temporal.namespace,
        execution=WorkflowExecution(workflow_id=rollout, run_id=run or ""),
    )
    found = await temporal.workflow_service.describe_workflow_execution(request, retry=True)
    info = found.workflow_execution_info
    return Run(
        id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        status=WorkflowExecutionStatus(info.status) if info.status in _KNOWN else None,
        start_time=info.start_time.ToDatetime(UTC),
        close_time=info.close_time.ToDatetime(UTC) if info.HasField("close_time") else None,
        description=found,
    )


async def list_runs(
    temporal: Temporal, query: str, limit: int | None = None
) -> AsyncIterator[WorkflowExecutionInfo]:
    """Runs that a query finds, so many at most; below the SDK, as `describe`.

    Raises:
        RPCError: Temporal does not answer, or does not take the query.
    """
    left = limit
    request = ListWorkflowExecutionsRequest(namespace=temporal.namespace, query=query)
    while left is None or left > 0:
        request.page_size = _PAGE if left is None else min(left, _PAGE)
        page = await temporal.workflow_service.list_workflow_executions(request, retry=True)
        for found in page.executions[:left]:
            yield found
        if not page.next_page_token:
            return
        left = None if left is None else left - len(page.executions)
        request.next_page_token = page.next_page_token


class Runs:
    """Looks up runs, each time anew: what was true a moment ago may have been reset since."""

    def __init__(self, temporal: Temporal) -> None:
        self._temporal = temporal

    async def state(self, rollout: str, run: str | None) -> RunState:
        """Whether a rollout has an open run, this one or a later one.

        Raises:
            UnavailableError: Temporal does not say.
        """
        newest = await self._describe(rollout, None)
        if newest is None:
            return _FORGOTTEN
        if newest.is_open:
            return RunState(is_open=True, why=f"run {newest.run_id} is open")
        if run is not None and run != newest.run_id:
            labelled = await self._describe(rollout, run)
            if labelled is not None and labelled.is_open:
                return RunState(is_open=True, why=f"run {run} is open")
        status = newest.status.name.lower() if newest.status else "closed"
        at = f" at {newest.close_time:%Y-%m-%d %H:%M:%S} UTC" if newest.close_time else ""
        return RunState(is_open=False, why=f"its rollout was {status}{at}")

    async def is_open(self, rollout: str) -> bool:
        """Whether a rollout has an open run.

        Raises:
            UnavailableError: Temporal does not say.
        """
        return (await self.state(rollout, None)).is_open

    async def is_newest(self, rollout: str, run: str) -> bool:
        """Whether a run is the newest of its rollout: none has been reset out of it.

        Raises:
            UnavailableError: Temporal does not say.
        """
        newest = await self._describe(rollout, None)
        return newest is not None and newest.run_id == run

    async def _describe(self, rollout: str, run: str | None) -> Run | None:
        try:
            return await describe(self._temporal, rollout, run)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise UnavailableError(
                f"Temporal could not describe {rollout}: {error.message}"
            ) from error
