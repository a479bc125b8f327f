"""One rollout as its starter sees it: status, result, stop, cancel."""

import asyncio
from datetime import datetime
from typing import Final

from temporalio.client import Client as Temporal
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.service import RPCError, RPCStatusCode

from rolldock.errors import UnavailableError, UsageError
from rolldock.models import names
from rolldock.models.base import Contract
from rolldock.models.result import RolloutResult, Stage
from rolldock.results import read_result
from rolldock.store import keys
from rolldock.store.store import Store
from rolldock.trainer.ended import write_result_of
from rolldock.trainer.patience import is_transient, patiently
from rolldock.trainer.runs import CLOSED

_WAIT_SECONDS: Final = 5.0
"""Between two looks at a busy Temporal: a long poll was refused."""
_CLOSED_WITH_RECORD: Final = frozenset(
    {WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.CANCELED}
)
"""A workflow closes in these ways only after its result was written."""


class RolloutStatus(Contract):
    """A rollout now."""

    id: str
    state: str
    """`running`, or the result's status, or `terminated`."""
    stage: str
    """The stage in progress, `waiting` between two, or `done`."""
    tries: int = 1
    """Temporal's tries of that stage."""
    problem: str | None = None
    """Why the stage was tried again."""
    started_at: datetime


class RolloutHandle:
    """A rollout by its id; none of its methods needs to be the process that started it."""

    def __init__(
        self, temporal: Temporal, store: Store, polls: asyncio.Semaphore, rollout: str
    ) -> None:
        self._temporal = temporal
        self._store = store
        self._polls = polls
        self._workflow = temporal.get_workflow_handle(rollout)
        self.id = rollout

    async def stored(self) -> RolloutResult | None:
        """The committed result; None: there is none yet."""
        content = await self._store.get(keys.result(self.id))
        return None if content is None else read_result(content)

    async def result(self) -> RolloutResult:
        """The result, waited for: graded, failed or cancelled, also long after Temporal forgot it.

        Raises:
            UsageError: no rollout has this id.
            UnavailableError: Temporal stays away, or the rollout's worker writes to another store.
        """
        while (result := await self.stored()) is None:
            description = await patiently(self._describe, self.id)
            if description.status in CLOSED:
                return await self.stored() or await self._write_missing(description)
            await self._until_closed()
        return result

    async def status(self) -> RolloutStatus:
        """Where the rollout is.

        Raises:
            UsageError: no rollout has this id.
        """
        result = await self.stored()
        try:
            description = await self._describe()
        except UsageError:
            if result is None:
                raise
            return RolloutStatus(
                id=self.id, state=result.status, stage="done", started_at=result.started_at
            )
        if description.status not in CLOSED:
            return _running(self.id, description)
        state = result.status if result else str(description.status and description.status.name)
        return RolloutStatus(
            id=self.id, state=state.lower(), stage="done", started_at=description.start_time
        )

    async def cancel(self) -> None:
        """Ask for the end; the sandbox is deleted and the result becomes `cancelled`."""
        await patiently(self._workflow.cancel, self.id)

    async def stop(self) -> None:
        """End the agent gracefully; what it did is graded, stop reason `stopped`."""
        await patiently(lambda: self._workflow.signal(names.STOP_SIGNAL), self.id)

    async def _describe(self) -> WorkflowExecutionDescription:
        try:
            return await self._workflow.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise UsageError(f"no rollout {self.id!r}: `rolldock ls` lists them") from error
            raise

    async def _until_closed(self) -> None:
        """One long poll for the close; the server caps how many may wait at once."""
        async with self._polls:
            try:
                await self._workflow.result()
            except WorkflowFailureError:
                return
            except RPCError as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(_WAIT_SECONDS)

    async def _write_missing(self, description: WorkflowExecutionDescription) -> RolloutResult:
        """The record of a run that was ended from outside before it could write its own."""
        if description.status in _CLOSED_WITH_RECORD:
            raise UnavailableError(
                f"rollout {self.id!r} ended, but its result is not in the store "
                f"{self._store.where}: set ROLLDOCK_STORE to the one that its worker uses"
            )
        return await write_result_of(self._temporal, self._store, description, by="client")


def _running(rollout: str, description: WorkflowExecutionDescription) -> RolloutStatus:
    """The stage from the activities that Temporal waits for; the latest in order of stages."""
    pending = description.raw_description.pending_activities
    order = [str(stage) for stage in Stage]
    by_stage = sorted(
        (activity for activity in pending if activity.activity_type.name in order),
        key=lambda activity: order.index(activity.activity_type.name),
    )
    if not by_stage:
        return RolloutStatus(
            id=rollout, state="running", stage="waiting", started_at=description.start_time
        )
    current = by_stage[0]
    return RolloutStatus(
        id=rollout,
        state="running",
        stage=current.activity_type.name,
        tries=max(1, current.attempt),
        problem=current.last_failure.message or None,
        started_at=description.start_time,
    )
