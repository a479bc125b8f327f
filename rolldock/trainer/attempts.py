"""The attempts of a rollout that still runs, from its history. The ended ones have left logs."""

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client as Temporal
from temporalio.service import RPCError

from rolldock.errors import UnavailableError
from rolldock.models.result import AttemptResult, Stage
from rolldock.models.stages import SealRequest


async def ended_attempts(temporal: Temporal, rollout: str) -> dict[int, AttemptResult]:
    """The attempts that are over, by their numbers: what their seals were given.

    Raises:
        UnavailableError: Temporal does not give the history.
    """
    try:
        history = await temporal.get_workflow_handle(rollout).fetch_history()
    except RPCError as error:
        raise UnavailableError(
            f"Temporal did not give the history of {rollout!r}: {error.message}"
        ) from error
    ended: dict[int, AttemptResult] = {}
    for event in history.events:
        scheduled = event.activity_task_scheduled_event_attributes
        if (
            event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
            and scheduled.activity_type.name == Stage.SEAL_TRACE
        ):
            [sealing] = await temporal.data_converter.decode(
                scheduled.input.payloads, [SealRequest]
            )
            ended[sealing.attempt.number] = sealing.attempt
    return ended
