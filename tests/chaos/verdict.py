"""What must hold after every case, whatever was done to the rollout; each breach in one line."""

import asyncio
import time
from typing import Final

from pydantic import Field
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from rolldock.models.base import Contract
from rolldock.models.result import RolloutResult, Status, StopReason
from tests.chaos.arena import Arena
from tests.chaos.calls import asked_again
from tests.rollouts import alive

CASE_SECONDS: Final = 60.0
"""A rollout that is open so long after its blow is lost."""
_POLL_SECONDS: Final = 0.05
_CLOSED_AS: Final = {
    Status.COMPLETED: WorkflowExecutionStatus.COMPLETED,
    Status.FAILED: WorkflowExecutionStatus.FAILED,
    Status.CANCELLED: WorkflowExecutionStatus.CANCELED,
}


class Expected(Contract):
    """How a case has to end."""

    status: Status = Status.COMPLETED
    stop_reason: StopReason = StopReason.AGENT_COMPLETED
    lost_by: tuple[str, ...] = ()
    """Causes of the attempts before the last one: each was a sandbox and a trace of its own."""
    cause: str | None = None
    """Of the failure of one that is not completed."""
    terminated: bool = False
    """Ended from outside: the reaper cleans up and writes the result."""
    min_turns: int = 0
    """What its trace has at least."""
    within_seconds: float = CASE_SECONDS

    @property
    def reward(self) -> float | None:
        """The agent's first command ran exactly once, where it is graded."""
        return 1.0 if self.status is Status.COMPLETED else None


class Outcome(Contract):
    """What came of a case."""

    problems: tuple[str, ...]
    seconds: float
    attempts: int | None = Field(default=None)
    """None: no result."""

    @property
    def ok(self) -> bool:
        """Whether all held."""
        return not self.problems


async def judge(arena: Arena, rollout: str, expected: Expected, started_at: float) -> Outcome:
    """Wait for the rollout's end and list what does not hold.

    Args:
        started_at: of the case, by the monotonic clock.
    """
    problems = await _closed(arena, rollout, expected)
    seconds = time.monotonic() - started_at
    if seconds > expected.within_seconds:
        problems.append(f"it took {seconds:.0f} s, not {expected.within_seconds:g}")
    await arena.ready()
    problems += await _left_alive(arena, rollout, expected)
    result = await arena.client.handle(rollout).stored()
    if result is None:
        return Outcome(problems=(*problems, "no result is stored"), seconds=seconds)
    problems += _differences(result, expected)
    problems += [
        problem for attempt in result.attempts for problem in await asked_again(arena, attempt)
    ]
    return Outcome(problems=tuple(problems), seconds=seconds, attempts=len(result.attempts))


async def _closed(arena: Arena, rollout: str, expected: Expected) -> list[str]:
    """Wait until the workflow is closed, and say where it closes otherwise than it should."""
    wanted = (
        WorkflowExecutionStatus.TERMINATED if expected.terminated else _CLOSED_AS[expected.status]
    )
    workflow = arena.client.temporal.get_workflow_handle(rollout)
    try:
        async with asyncio.timeout(CASE_SECONDS):
            while (status := await _status(arena, rollout)) is WorkflowExecutionStatus.RUNNING:
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        where = await arena.client.handle(rollout).status()
        await workflow.terminate("chaos: it does not end")
        arena.holds.forget(rollout)
        return [f"open after {CASE_SECONDS:g} s, in {where.stage} (try {where.tries})"]
    return [] if status is wanted else [f"closed as {status and status.name}, not {wanted.name}"]


async def _status(arena: Arena, rollout: str) -> WorkflowExecutionStatus | None:
    """How the workflow is; running as long as Temporal cannot say."""
    try:
        return (await arena.client.temporal.get_workflow_handle(rollout).describe()).status
    except RPCError:
        return WorkflowExecutionStatus.RUNNING


async def _left_alive(arena: Arena, rollout: str, expected: Expected) -> list[str]:
    """What lives when the workflow has closed, and what lives after one sweep."""
    problems: list[str] = []
    before = [sandbox.id for sandbox in await alive(arena.client, rollout)]
    if before and not expected.terminated:
        problems.append(f"left to the reaper: {', '.join(before)}")
    await arena.client.reap(grace_seconds=0)
    after = [sandbox.id for sandbox in await alive(arena.client, rollout)]
    if after:
        problems.append(f"alive after one sweep: {', '.join(after)}")
    return problems


def _differences(result: RolloutResult, expected: Expected) -> list[str]:
    """Where a result is not what the case expects, and the failure that explains it."""
    last = result.failure
    losses = [one.failure for one in result.attempts[:-1] if one.failure]
    lost_by = tuple(str(loss.cause) for loss in losses)
    pairs = (
        ("status", str(result.status), str(expected.status)),
        ("reward", result.reward, expected.reward),
        ("stop reason", str(result.stop_reason), str(expected.stop_reason)),
        ("cause", last and str(last.cause), expected.cause),
        ("lost attempts", lost_by, expected.lost_by),
    )
    found = [f"{name} {was}, not {wanted}" for name, was, wanted in pairs if was != wanted]
    if lost_by != expected.lost_by:
        found += [f"lost in {loss.stage}: {loss.message}" for loss in losses]
    n_turns = 0 if result.trace is None else result.trace.n_turns
    if n_turns < expected.min_turns:
        found.append(f"{n_turns} turns in its trace, not {expected.min_turns} or more")
    if found and last is not None:
        found.append(f"its failure: {last.stage}: {last.message[:300]}")
    return found
