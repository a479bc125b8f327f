"""One rollout as its starter sees it: status, result, stop, cancel."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from temporalio.api.enums.v1 import WorkflowExecutionStatus as RawStatus
from temporalio.client import Client as Temporal
from temporalio.client import (
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
from rolldock.trainer.patience import is_transient, patiently, refusal
from rolldock.trainer.runs import Run, describe

_WAIT_SECONDS: Final = 5.0
"""Between two looks where no long poll can wait: Temporal is busy, or the rollout paused."""
_CLOSED_WITH_RECORD: Final = frozenset(
    {WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.CANCELED}
)
"""A workflow closes in these ways only after its result was written."""
_PAUSED: Final = "paused in Temporal: `temporal workflow unpause` lets it go on"


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
    """Why the stage was tried again, or that the rollout is paused."""
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
            newest = await patiently(self._describe, self.id)
            if not newest.is_open:
                return await self.stored() or await self._write_missing(newest)
            await self._until_closed()
        return result

    async def status(self) -> RolloutStatus:
        """Where the rollout is.

        Raises:
            UsageError: no rollout has this id.
        """
        result = await self.stored()
        try:
            newest = await self._describe()
        except UsageError:
            if result is None:
                raise
            return RolloutStatus(
                id=self.id, state=result.status, stage="done", started_at=result.started_at
            )
        if newest.is_open:
            return _running(newest)
        state = result.status if result else str(newest.status and newest.status.name)
        return RolloutStatus(
            id=self.id, state=state.lower(), stage="done", started_at=newest.start_time
        )

    async def cancel(self) -> None:
        """Ask for the end; the sandbox is deleted and the result becomes `cancelled`.

        One that has ended stays as it is.

        Raises:
            UsageError: no rollout has this id.
            UnavailableError: Temporal stays away.
        """
        await patiently(lambda: self._tell(self._workflow.cancel), self.id)

    async def stop(self) -> None:
        """End the agent gracefully; what it did is graded, stop reason `stopped`.

        One that has ended stays as it is.

        Raises:
            UsageError: no rollout has this id.
            UnavailableError: Temporal stays away.
        """
        await patiently(
            lambda: self._tell(lambda: self._workflow.signal(names.STOP_SIGNAL)), self.id
        )

    async def _tell(self, call: Callable[[], Awaitable[None]]) -> None:
        """Ask a run for something, unless it is over: Temporal does not find a closed one."""
        try:
            await call()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if await self.stored() is None and (await self._describe()).is_open:
                raise

    async def _describe(self) -> Run:
        try:
            return await describe(self._temporal, self.id)
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
            except RuntimeError:
                # How the SDK says that the server ended the poll without an event: the run is
                # paused, which the server does not count as running.
                await asyncio.sleep(_WAIT_SECONDS)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return
                if not is_transient(error):
                    raise refusal(error, self.id) from error
                await asyncio.sleep(_WAIT_SECONDS)

    async def _write_missing(self, ended: Run) -> RolloutResult:
        """The record of a run that was ended from outside before it could write its own."""
        if ended.status in _CLOSED_WITH_RECORD:
            raise UnavailableError(
                f"rollout {self.id!r} ended, but its result is not in the store "
                f"{self._store.where}: set ROLLDOCK_STORE to the one that its worker uses"
            )
        return await write_result_of(self._temporal, self._store, ended, by="client")


def _running(run: Run) -> RolloutStatus:
    """The stage from the activities that Temporal waits for; the latest in order of stages."""
    pending = run.description.pending_activities
    info = run.description.workflow_execution_info
    paused = _PAUSED if info.status == RawStatus.WORKFLOW_EXECUTION_STATUS_PAUSED else None
    order = [str(stage) for stage in Stage]
    by_stage = sorted(
        (activity for activity in pending if activity.activity_type.name in order),
        key=lambda activity: order.index(activity.activity_type.name),
    )
    if not by_stage:
        return RolloutStatus(
            id=run.id,
            state="running",
            stage="waiting",
            problem=paused,
            started_at=run.start_time,
        )
    current = by_stage[0]
    return RolloutStatus(
        id=run.id,
        state="running",
        stage=current.activity_type.name,
        tries=max(1, current.attempt),
        problem=paused or current.last_failure.message or None,
        started_at=run.start_time,
    )
