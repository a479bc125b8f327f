"""The result of a rollout that was ended before it could write one: terminated, or without a store.

All that it did is in its history: the sandboxes it had, the stages it came to, perhaps the very
request to seal that nobody answered. That request is carried out as it stands; without one the
rollout is `failed` with cause `terminated`, its attempts and their traces kept.
"""

from datetime import UTC, datetime
from typing import Final, TypeVar

from pydantic import BaseModel
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from rolldock.agents.registry import agent_of
from rolldock.errors import UnavailableError, UsageError
from rolldock.gateway.session_log import SessionLog
from rolldock.models.failure import Cause, Failure
from rolldock.models.result import AttemptResult, RolloutResult, Stage, Status, StopReason
from rolldock.models.session import EndReason
from rolldock.models.stages import (
    CreateResult,
    Order,
    RolloutRequest,
    SealRequest,
    SealResult,
)
from rolldock.sealing import seal_rollout
from rolldock.store.store import Store
from rolldock.trainer.runs import Run

M = TypeVar("M", bound=BaseModel)

_STARTED: Final = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
_SCHEDULED: Final = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_COMPLETED: Final = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
_STAGES: Final = frozenset(str(stage) for stage in Stage)


async def write_result_of(temporal: Temporal, store: Store, ended: Run, by: str) -> RolloutResult:
    """Write the result of a closed run that left none, and return the one that stands.

    Its session is closed first, so that an agent that still runs spends no more.

    Args:
        by: who writes: `reaper` or `client`.

    Raises:
        UsageError: its history is gone, or cannot be read, so nobody can say what it was.
        UnavailableError: Temporal or the store does not answer.
    """
    story = await _Story.read(temporal, ended)
    request = story.sealing or story.terminated(ended)
    if agent_of(request.order.spec.agent).dialect is not None:
        for attempt in story.attempts:
            await SessionLog(store, attempt.attempt).end(EndReason.STOPPED, by=by)
    return await seal_rollout(store, request, ended.close_time or datetime.now(UTC))


class _Story:
    """What a run's history says, in the terms of its result."""

    def __init__(self, request: RolloutRequest, run: str, started_at: datetime) -> None:
        self._request = request
        self._run = run
        self._started_at = started_at
        self._orders: dict[str, Order] = {}
        self._records: dict[str, AttemptResult] = {}
        self.sealing: SealRequest | None = None
        """The seal of the last attempt, where the run came so far."""

    @classmethod
    async def read(cls, temporal: Temporal, ended: Run) -> "_Story":
        """Read a run's history.

        Raises:
            UsageError: Temporal has it no more, or it is not the history of a rollout.
            UnavailableError: Temporal does not answer.
        """
        handle = temporal.get_workflow_handle(ended.id, run_id=ended.run_id)
        try:
            history = await handle.fetch_history()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise UnavailableError(
                    f"Temporal did not give the history of {ended.id!r}: {error.message}"
                ) from error
            raise UsageError(
                f"rollout {ended.id!r} ended without a result, and its history is gone: start it "
                "again under another id"
            ) from error
        reader = _Reader(temporal, history)
        try:
            request = await reader.input(history.events[0], RolloutRequest)
            story = cls(request, ended.run_id, ended.start_time)
            for event in history.events:
                await story.add(reader, event)
        except ValueError as error:
            raise UsageError(
                f"workflow {ended.id!r} is no rollout that this version can read: {error}"
            ) from error
        return story

    @property
    def attempts(self) -> tuple[AttemptResult, ...]:
        """The attempts in their order."""
        return tuple(self._records.values())

    async def add(self, reader: "_Reader", event: HistoryEvent) -> None:
        """Learn from one event."""
        if event.event_type == _SCHEDULED:
            await self._add_scheduled(reader, event)
        elif event.event_type == _COMPLETED:
            await self._add_completed(reader, event)

    async def _add_scheduled(self, reader: "_Reader", event: HistoryEvent) -> None:
        stage = reader.stage(event)
        if stage == Stage.CREATE_SANDBOX:
            order = await reader.input(event, Order)
            self._orders[order.attempt] = order
            self._records[order.attempt] = AttemptResult(
                attempt=order.attempt,
                number=order.number,
                stage=Stage.CREATE_SANDBOX,
                stop_reason=StopReason.INFRASTRUCTURE,
                started_at=event.event_time.ToDatetime(UTC),
            )
        elif stage == Stage.SEAL_TRACE:
            sealing = await reader.input(event, SealRequest)
            self._records[sealing.attempt.attempt] = sealing.attempt
            self.sealing = sealing if sealing.last else None
        elif stage not in (None, Stage.DELETE_SANDBOX) and self._records:
            self._update(stage=stage)

    async def _add_completed(self, reader: "_Reader", event: HistoryEvent) -> None:
        stage = reader.stage(event)
        if stage == Stage.CREATE_SANDBOX:
            created = await reader.output(event, CreateResult)
            self._update(sandbox_id=created.sandbox_id)
        elif stage == Stage.SEAL_TRACE:
            sealed = (await reader.output(event, SealResult)).attempt
            self._records[sealed.attempt] = sealed

    def _update(self, **fields: str | None) -> None:
        newest = next(reversed(self._records))
        self._records[newest] = self._records[newest].model_copy(update=fields)

    def terminated(self, ended: Run) -> SealRequest:
        """The seal that the run never asked for."""
        said = ended.status.name.lower() if ended.status else "closed"
        attempts = self.attempts or (self._unbegun(),)
        last = attempts[-1]
        own = last.failure
        before = "" if own is None else f"; its attempt had failed: {own.cause}: {own.message}"
        failure = Failure(
            stage=last.stage,
            cause=Cause.TERMINATED,
            message=f"the workflow was {said} in {last.stage}, before it wrote a result{before}",
            retryable=False,
        )
        return SealRequest(
            order=self._orders.get(last.attempt) or self._order(),
            attempt=last.model_copy(update={"failure": failure}),
            earlier=attempts[:-1],
            last=True,
            status=Status.FAILED,
            started_at=self._started_at,
        )

    def _unbegun(self) -> AttemptResult:
        return AttemptResult(
            attempt=self._run,
            number=1,
            stage=Stage.CREATE_SANDBOX,
            stop_reason=StopReason.INFRASTRUCTURE,
            started_at=self._started_at,
        )

    def _order(self) -> Order:
        spec = self._request.spec
        return Order(
            rollout=spec.id,
            run=self._run,
            attempt=self._run,
            number=1,
            spec=spec,
            spec_digest=self._request.spec_digest,
            deadline=self._started_at,
        )


class _Reader:
    """Payloads of a history as our models."""

    def __init__(self, temporal: Temporal, history: WorkflowHistory) -> None:
        self._converter = temporal.data_converter
        self._stages = {
            event.event_id: event.activity_task_scheduled_event_attributes.activity_type.name
            for event in history.events
            if event.event_type == _SCHEDULED
        }

    def stage(self, event: HistoryEvent) -> str | None:
        """The stage that an activity's event is about."""
        completed = event.activity_task_completed_event_attributes
        name = self._stages.get(completed.scheduled_event_id or event.event_id)
        return name if name in _STAGES else None

    async def input(self, event: HistoryEvent, model: type[M]) -> M:
        """What a workflow or an activity was given."""
        if event.event_type == _STARTED:
            payloads = event.workflow_execution_started_event_attributes.input.payloads
        else:
            payloads = event.activity_task_scheduled_event_attributes.input.payloads
        [value] = await self._converter.decode(payloads, [model])
        return value

    async def output(self, event: HistoryEvent, model: type[M]) -> M:
        """What an activity returned."""
        payloads = event.activity_task_completed_event_attributes.result.payloads
        [value] = await self._converter.decode(payloads, [model])
        return value
