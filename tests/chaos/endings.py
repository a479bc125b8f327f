"""Rollouts that are ended from outside: cancelled, cancelled twice, terminated, stopped."""

import time
from typing import Final

from temporalio.api.enums.v1 import EventType

from rolldock.models.failure import Cause
from rolldock.models.result import Stage, Status, StopReason
from tests.chaos.arena import Arena
from tests.chaos.cases import Moment
from tests.chaos.play import expected_of, reach, reaching, spec_of
from tests.chaos.verdict import Expected, Outcome, judge

CANCEL_SECONDS: Final = 30.0
"""From the cancel to the closed workflow, when everything answers."""
_COMMITTED: Final = (Stage.SEAL_TRACE, Stage.DELETE_SANDBOX)
"""From the seal on, what the attempt was is decided."""
_AGENT_RAN: Final = (Stage.STOP_AGENT, Stage.GRADE)
"""Before these, a turn is recorded for certain."""


async def cancel(arena: Arena, stage: Stage, moment: Moment) -> Outcome:
    """Cancelled at a moment of a stage."""
    await arena.heal()
    spec = await spec_of(arena, stage)
    async with reaching(arena, spec):
        reached = await reach(arena, spec, stage, moment)
        cancelled_at = time.monotonic()
        await reached.handle.cancel()
        await _arrived(arena, spec.id)
    reached.let_go()
    expected = expected_of(stage) if stage in _COMMITTED else cancelled(stage)
    return await judge(arena, spec.id, expected, cancelled_at)


async def cancel_twice(arena: Arena) -> Outcome:
    """Cancelled while the agent works, and again while its sandbox is being deleted."""
    await arena.heal()
    stage = Stage.STOP_AGENT
    spec = await spec_of(arena, stage)
    cleaning = arena.holds.add(spec.id, Stage.DELETE_SANDBOX, Moment.BEFORE)
    async with reaching(arena, spec):
        reached = await reach(arena, spec, stage, Moment.BEFORE)
        cancelled_at = time.monotonic()
        await reached.handle.cancel()
        await _arrived(arena, spec.id)
        reached.let_go()
        await cleaning.reached()
        await reached.handle.cancel()
    cleaning.let_go()
    return await judge(arena, spec.id, cancelled(stage), cancelled_at)


async def terminate(arena: Arena, stage: Stage, moment: Moment) -> Outcome:
    """Terminated at a moment of a stage; the worker finishes what it was doing, then one sweep."""
    await arena.heal()
    started_at = time.monotonic()
    spec = await spec_of(arena, stage)
    async with reaching(arena, spec):
        reached = await reach(arena, spec, stage, moment)
        await arena.client.temporal.get_workflow_handle(spec.id).terminate("chaos")
        reached.let_go()
        await arena.holds.reported(spec.id, stage, Moment.AFTER)
    expected = expected_of(stage) if stage in _COMMITTED else _TERMINATED
    expected = expected.model_copy(update={"terminated": True})
    return await judge(arena, spec.id, expected, started_at)


async def stop(arena: Arena) -> Outcome:
    """Told to stop while the agent works: it is ended and graded."""
    await arena.heal()
    started_at = time.monotonic()
    spec = await spec_of(arena, Stage.STOP_AGENT)
    async with reaching(arena, spec):
        reached = await reach(arena, spec, Stage.STOP_AGENT, Moment.BEFORE)
    reached.let_go()
    return await judge(arena, spec.id, expected_of(Stage.STOP_AGENT), started_at)


def cancelled(stage: Stage) -> Expected:
    """How a rollout ends that is cancelled in a stage before the seal."""
    return Expected(
        status=Status.CANCELLED,
        stop_reason=StopReason.CANCELLED,
        cause=Cause.CANCELLED,
        min_turns=1 if stage in _AGENT_RAN else 0,
        within_seconds=CANCEL_SECONDS,
    )


_TERMINATED: Final = Expected(
    status=Status.FAILED, stop_reason=StopReason.INFRASTRUCTURE, cause=Cause.TERMINATED
)


async def _arrived(arena: Arena, rollout: str) -> None:
    """Wait until the workflow has the cancel in its history."""
    wanted = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
    workflow = arena.client.temporal.get_workflow_handle(rollout)
    async for event in workflow.fetch_history_events(wait_new_event=True):
        if event.event_type == wanted:
            return
