"""Replaying rollouts: of one or of many, planned from what the store has of them, then started.

A replay is a rollout of its own: it is waited for, listed and cancelled as any other, and changes
nothing of its origin.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from pydantic import Field

from rolldock.errors import RolldockError, UnavailableError, UsageError
from rolldock.harbor.task import Task, read_task
from rolldock.models.base import Contract
from rolldock.models.spec import RolloutSpec
from rolldock.store.store import Store
from rolldock.trainer.handle import RolloutHandle
from rolldock.trainer.origins import stored_result
from rolldock.trainer.replay_points import find_point
from rolldock.trainer.replay_request import ReplayRequest
from rolldock.trainer.replay_specs import replay_specs

_AT_ONCE: Final = 16
"""Rollouts that are looked at, or started, side by side."""
_NAMED: Final = 5
"""Refusals that an error spells out."""
_TAG_BYTES: Final = 3

Start = Callable[[RolloutSpec], Awaitable[RolloutHandle]]


class Refusal(Contract):
    """A rollout that is not replayed, and why."""

    rollout: str
    why: str


class ReplayPlan(Contract):
    """The replays of some rollouts, none of them started."""

    specs: tuple[RolloutSpec, ...]
    refused: tuple[Refusal, ...] = ()
    tests: bytes | None = Field(default=None, repr=False)
    """The bundle of the task whose tests are asked for: stored before anything is started."""


class ReplaysRefusedError(UsageError):
    """Raised when some rollouts are not replayed; the replays of the others were started."""

    def __init__(self, refused: Sequence[Refusal], started: Sequence[RolloutHandle]) -> None:
        named = "; ".join(f"{one.rollout}: {one.why}" for one in refused[:_NAMED])
        more = f"; and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        super().__init__(f"{len(refused)} not replayed, {len(started)} started: {named}{more}")
        self.refused = tuple(refused)
        self.started = tuple(started)


async def replay(
    store: Store, start: Start, origins: Iterable[str], request: ReplayRequest
) -> list[RolloutHandle]:
    """Start the replays of these rollouts.

    Raises:
        ReplaysRefusedError: some are not replayed; the replays of the others were started.
        UsageError: the directory of other tests is no task.
        UnavailableError: the store or Temporal does not answer, and nothing was started.
    """
    plan = await plan_replays(store, origins, request)
    started, refused = await start_replays(store, start, plan)
    if refused:
        raise ReplaysRefusedError(refused, started)
    return started


async def plan_replays(store: Store, origins: Iterable[str], request: ReplayRequest) -> ReplayPlan:
    """What would be started for these rollouts, and which are refused. Writes nothing.

    Raises:
        UsageError: the directory of other tests is no task.
        UnavailableError: the store does not answer.
    """
    tests = None
    if request.tests is not None:
        tests = await asyncio.to_thread(read_task, request.tests)
    tag = secrets.token_hex(_TAG_BYTES)
    asked = list(dict.fromkeys(origins))
    specs: list[RolloutSpec] = []
    refused: list[Refusal] = []
    for start in range(0, len(asked), _AT_ONCE):
        lot = asked[start : start + _AT_ONCE]
        for found in await asyncio.gather(
            *(_plan(store, origin, request, tag, tests) for origin in lot)
        ):
            if isinstance(found, Refusal):
                refused.append(found)
            else:
                specs += found
    bundle = None if tests is None else tests.bundle
    return ReplayPlan(specs=tuple(specs), refused=tuple(refused), tests=bundle)


async def start_replays(
    store: Store, start: Start, plan: ReplayPlan
) -> tuple[list[RolloutHandle], list[Refusal]]:
    """Start what is planned; the handles, and what was refused in the plan or at its start.

    Once Temporal or the store does not answer no more is started, and the rest counts as refused.

    Raises:
        UnavailableError: Temporal or the store does not answer, and nothing was started.
    """
    if plan.tests is not None:
        await store.put_blob(plan.tests)
    started: list[RolloutHandle] = []
    refused = list(plan.refused)
    for place in range(0, len(plan.specs), _AT_ONCE):
        lot = plan.specs[place : place + _AT_ONCE]
        # All of a lot are waited for, so that no start goes on behind an error's back.
        found = await asyncio.gather(*map(start, lot), return_exceptions=True)
        away: UnavailableError | None = None
        for spec, one in zip(lot, found, strict=True):
            if isinstance(one, RolldockError):
                refused.append(_refusal(spec, str(one)))
                away = one if isinstance(one, UnavailableError) else away
            elif isinstance(one, BaseException):
                raise one
            else:
                started.append(one)
        if away is not None and not started:
            raise away
        if away is not None:
            rest = plan.specs[place + _AT_ONCE :]
            return started, refused + [_refusal(spec, f"not tried: {away}") for spec in rest]
    return started, refused


def _refusal(spec: RolloutSpec, why: str) -> Refusal:
    return Refusal(rollout=spec.replay_of or spec.id, why=why)


async def _plan(
    store: Store, origin: str, request: ReplayRequest, tag: str, tests: Task | None
) -> list[RolloutSpec] | Refusal:
    try:
        result = await stored_result(store, origin)
        if result is None:
            return Refusal(
                rollout=origin,
                why="it has no result: wait until it has ended, or see `rolldock ls` for its id",
            )
        point = await find_point(store, result, request)
        return replay_specs(result, request, point, tag, tests)
    except UsageError as error:
        return Refusal(rollout=origin, why=str(error))
