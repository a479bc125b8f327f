"""A try that its server gave up goes on when another try has long done its work.

The worst case of a paused worker, or of one that the server cannot be heard by: no cancel comes to
the try, which carries out its whole stage.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

import worker
from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Stage, Status
from rolldock.models.stages import Order
from rolldock.sandbox.client import Sandboxes
from rolldock.store import keys
from rolldock.trainer.client import Client

TASKS = Path(__file__).parents[1] / "tasks"
HEARTBEAT_SECONDS = 2

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
    pytest.mark.slow,
]


class Stall:
    """The first try of one stage of a rollout: stalled, then woken, then done."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.woken = asyncio.Event()
        self.done = asyncio.Event()

    async def wake(self) -> None:
        """Let it go on, and wait until it has done all it does."""
        self.woken.set()
        await self.done.wait()


class Stalls(Interceptor):
    """Stalls tries where a test says so, and lets no cancel through to any."""

    def __init__(self) -> None:
        self._stalls: dict[tuple[str, str], tuple[Stall, bool]] = {}

    def add(self, rollout: str, stage: str, *, after_work: bool = False) -> Stall:
        """Stall the first try of a stage before it does anything, or before it reports."""
        stall = Stall()
        self._stalls[rollout, stage] = stall, after_work
        return stall

    def take(self, rollout: str, stage: str) -> tuple[Stall, bool] | None:
        """What is meant for this try, once."""
        return self._stalls.pop((rollout, stage), None)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand in front of every activity."""
        return _Stalled(next, self)


class _Stalled(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, stalls: Stalls) -> None:
        super().__init__(next)
        self._stalls = stalls

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        argument = input.args[0]
        order: Order = argument if isinstance(argument, Order) else argument.order
        taken = self._stalls.take(order.rollout, input.fn.__name__)
        if taken is None:
            return await super().execute_activity(input)
        stall, after_work = taken
        trying = asyncio.create_task(self._stalled(input, stall, after_work))
        while not trying.done():
            try:
                await asyncio.wait({trying})
            except asyncio.CancelledError:
                continue
        return trying.result()

    async def _stalled(self, input: ExecuteActivityInput, stall: Stall, after_work: bool) -> Any:
        try:
            if not after_work:
                stall.reached.set()
                await stall.woken.wait()
            result = await super().execute_activity(input)
            if after_work:
                stall.reached.set()
                await stall.woken.wait()
            return result
        finally:
            stall.done.set()


class Bench:
    """A client whose rollouts give up a silent worker soon, and the stalls of their worker."""

    def __init__(self, client: Client, sandboxes: Sandboxes, stalls: Stalls) -> None:
        self.client = client
        self.sandboxes = sandboxes
        self.stalls = stalls


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stalling(
    stack_options: Callable[[bool], StackOptions],
) -> AsyncGenerator[Bench, None]:
    """A stack without a worker, and a worker here."""
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(Stack(stack_options(False)))
        update = {
            "create_settle_seconds": 2,
            "listing_lag_seconds": 0,
            "heartbeat_seconds": HEARTBEAT_SECONDS,
        }
        settings = stack.settings.model_copy(update=update)
        client = await Client.connect(settings)
        sandboxes = await exits.enter_async_context(
            Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key)
        )
        stalls = Stalls()
        for one in worker.workers(
            "all", client.temporal, sandboxes, settings, client.deployment, [stalls]
        ):
            await exits.enter_async_context(one)
        yield Bench(client, sandboxes, stalls)


@pytest.mark.parametrize("after_work", [False, True])
async def test_a_stale_try_of_any_stage_harms_nothing(stalling: Bench, after_work: bool) -> None:
    """The rollout is graded at its first attempt without it; afterwards it changes nothing."""
    await asyncio.gather(*(stall_in(stalling, stage, after_work) for stage in Stage))


async def stall_in(bench: Bench, stage: Stage, after_work: bool) -> None:
    """A rollout, one of whose tries wakes when all is over."""
    client = bench.client
    spec = await client.spec(TASKS / "runs-once", agent="oracle")
    stall = bench.stalls.add(spec.id, stage, after_work=after_work)
    handle = await client.start(spec)
    await stall.reached.wait()
    result = await handle.result()
    await closed(client, spec.id)
    before = await records(client, result)
    await stall.wake()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), (stage, result.failure)
    assert len(result.attempts) == 1, stage
    assert await client.handle(spec.id).result() == result, stage
    assert await records(client, result) == before, stage
    assert await alive(client, spec.id) == [], stage


async def test_a_stale_set_up_undoes_no_work_of_the_agent(stalling: Bench) -> None:
    """It wakes when the agent has worked, before the tests run: the files stay as they are."""
    client = stalling.client
    spec = await client.spec(TASKS / "edits-file", agent="oracle")
    stale = stalling.stalls.add(spec.id, Stage.SET_UP_SANDBOX)
    ended = stalling.stalls.add(spec.id, Stage.STOP_AGENT)
    handle = await client.start(spec)
    await stale.reached.wait()
    await ended.reached.wait()
    await stale.wake()
    await ended.wake()
    result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure


async def test_a_stale_grade_leaves_the_tests_of_the_next_try_alone(stalling: Bench) -> None:
    """It wakes while they run: it may not run them again, nor end them."""
    client = stalling.client
    spec = await client.spec(TASKS / "tests-wait", agent="oracle")
    stall = stalling.stalls.add(spec.id, Stage.GRADE)
    handle = await client.start(spec)
    await stall.reached.wait()
    [sandbox_id] = await alive(client, spec.id)
    while not await succeeds(stalling.sandboxes, sandbox_id, "test -e /tmp/waiting"):
        await asyncio.sleep(0.05)
    await stall.wake()
    assert await succeeds(stalling.sandboxes, sandbox_id, "touch /tmp/go")
    result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(result.attempts) == 1


async def succeeds(sandboxes: Sandboxes, sandbox_id: str, command: str) -> bool:
    """Whether a command does."""
    done = await sandboxes.run(sandbox_id, command, timeout_seconds=10, otherwise=Cause.INTERNAL)
    return done.exit_code == 0


async def closed(client: Client, rollout: str) -> None:
    """Wait until its cleanup is over."""
    handle = client.temporal.get_workflow_handle(rollout)
    while (await handle.describe()).close_time is None:
        await asyncio.sleep(0.05)


async def records(client: Client, result: RolloutResult) -> tuple[bytes | None, bytes | None]:
    """What was committed: the result, and the tombstone of its attempt."""
    return (
        await client.store.get(keys.result(result.rollout)),
        await client.store.get(keys.tombstone(result.attempts[0].attempt)),
    )


async def alive(client: Client, rollout: str) -> list[str]:
    """The ids of its living sandboxes."""
    found = await client.sandboxes()
    return [one.sandbox.id for one in found if one.sandbox.owner.rollout == rollout]
