"""Plays one case: a rollout is brought to the moment, its process is struck, its end is judged."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from rolldock.faults.client import FaultClient
from rolldock.faults.model import Delay, Fault
from rolldock.models.result import Stage, StopReason
from rolldock.models.spec import RolloutSpec
from rolldock.trainer.handle import RolloutHandle
from tests.chaos.arena import ENDPOINT, Arena
from tests.chaos.cases import Case, Moment
from tests.chaos.holds import Hold, Report
from tests.chaos.strike import struck
from tests.chaos.verdict import Expected, Outcome, judge

_TASKS: Final = Path(__file__).parents[1] / "tasks"
ONCE: Final = _TASKS / "chaos-once"
"""Its agent appends a line, counts, and ends by itself."""
STAY: Final = _TASKS / "chaos-stay"
"""Its agent appends a line and stays until it is ended."""
REACH_SECONDS: Final = 30.0
HELD_SECONDS: Final = 1.5
"""How long the answer of a stage's request is held."""
EFFECT_SECONDS: Final = 0.3
"""A request that has arrived has taken effect by then; no server says when."""
_POLL_SECONDS: Final = 0.02

_UPLOAD: Final = ("POST", "/.*/upload")
_COMMAND: Final = ("POST", "/.*/command_session.CommandSession/Start")
REQUESTS: Final = {
    Stage.CREATE_SANDBOX: ("POST", "/api/v1/sandbox"),
    Stage.SET_UP_SANDBOX: _UPLOAD,
    Stage.START_AGENT: _COMMAND,
    Stage.AWAIT_AGENT: ("POST", "/v1/chat/completions"),
    Stage.STOP_AGENT: _COMMAND,
    Stage.KEEP_WORKSPACE: ("POST", "/api/v1/sandbox/[^/]+/checkpoints"),
    Stage.GRADE: _COMMAND,
    Stage.DELETE_SANDBOX: ("DELETE", "/api/v1/sandbox/[^/]+"),
}
"""The request of each stage that does its work; the agent's is its second model call, so that a
turn is recorded already. The seal makes none."""


class Reached(NamedTuple):
    """A rollout at its moment."""

    handle: RolloutHandle
    report: Report
    """Of the worker that runs the stage."""
    hold: Hold | None
    """What to let go; None: nothing is held but an answer, for a while."""

    def let_go(self) -> None:
        """Let the rollout go on."""
        if self.hold is not None:
            self.hold.let_go()


async def play(arena: Arena, case: Case) -> Outcome:
    """One blow, and what came of it."""
    await arena.heal()
    started_at = time.monotonic()
    spec = await spec_of(arena, case.stage)
    async with reaching(arena, spec):
        reached = await reach(arena, spec, case.stage, case.moment)
    async with struck(arena, case.process, case.blow, reached.report.pid):
        reached.let_go()
    return await judge(arena, spec.id, expected_of(case.stage), started_at)


async def spec_of(arena: Arena, stage: Stage) -> RolloutSpec:
    """A rollout that gets to the stage: its agent is ended where that is the stage's work."""
    task = STAY if stage is Stage.STOP_AGENT else ONCE
    spec = await arena.client.spec(task, agent="bash", endpoint=ENDPOINT)
    return spec.model_copy(update={"keep_workspace": stage is Stage.KEEP_WORKSPACE})


def expected_of(stage: Stage) -> Expected:
    """How such a rollout ends where nothing is lost."""
    ended = StopReason.STOPPED if stage is Stage.STOP_AGENT else StopReason.AGENT_COMPLETED
    return Expected(stop_reason=ended)


@asynccontextmanager
async def reaching(arena: Arena, spec: RolloutSpec) -> AsyncGenerator[None]:
    """Bounds how long a rollout may take to its moment; one that is late does not go on.

    Raises:
        TimeoutError: it did not get there.
    """
    try:
        async with asyncio.timeout(REACH_SECONDS):
            yield
    except TimeoutError:
        arena.holds.forget(spec.id)
        await arena.client.temporal.get_workflow_handle(spec.id).terminate("chaos: too late")
        raise


async def reach(arena: Arena, spec: RolloutSpec, stage: Stage, moment: Moment) -> Reached:
    """Start a rollout and wait until it is at a moment of a stage."""
    if (stage, moment) == (Stage.AWAIT_AGENT, Moment.DURING):
        return await _reach_model_call(arena, spec)
    held = Moment.AFTER if moment is Moment.AFTER else Moment.BEFORE
    hold = arena.holds.add(spec.id, stage, held)
    handle = await arena.client.start(spec)
    if stage is Stage.STOP_AGENT:
        await staying(arena, spec.id)
        await handle.stop()
    report = await hold.reached()
    if moment is not Moment.DURING:
        return Reached(handle, report, hold)
    fault = await _hold_answer(arena.sandboxd, stage)
    hold.let_go()
    await in_flight(arena.sandboxd, fault)
    return Reached(handle, report, None)


async def staying(arena: Arena, rollout: str) -> None:
    """Wait until the agent has run its first command: its second model call has come."""
    waits = await arena.holds.reported(rollout, Stage.AWAIT_AGENT, Moment.BEFORE)
    while not any(
        (call.session, call.slot) == (waits.attempt, 1) for call in await arena.model.journal()
    ):
        await asyncio.sleep(_POLL_SECONDS)


async def in_flight(server: FaultClient, fault: str) -> None:
    """Wait until a held request has arrived and taken effect."""
    while await server.hits(fault) == 0:
        await asyncio.sleep(_POLL_SECONDS)
    await asyncio.sleep(EFFECT_SECONDS)


async def _reach_model_call(arena: Arena, spec: RolloutSpec) -> Reached:
    fault = await _hold_answer(arena.model, Stage.AWAIT_AGENT, skip=1)
    handle = await arena.client.start(spec)
    await in_flight(arena.model, fault)
    report = await arena.holds.reported(spec.id, Stage.AWAIT_AGENT, Moment.BEFORE)
    return Reached(handle, report, None)


async def _hold_answer(server: FaultClient, stage: Stage, skip: int = 0) -> str:
    method, path = REQUESTS[stage]
    action = Delay(seconds=HELD_SECONDS, when="after")
    return await server.add(Fault(method=method, path=path, action=action, skip=skip))
