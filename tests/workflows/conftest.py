"""A worker in the test's own process, whose activities can be held at any moment.

The activities are the real ones, against the real servers of a stack; a Temporal interceptor
stands between the server and them, and waits where a test says so.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import pytest_asyncio
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

import worker
from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.models.reaping import SweepRequest
from rolldock.models.stages import Order
from rolldock.sandbox.client import Sandboxes
from rolldock.trainer.client import Client

Moment = Literal["before", "during"]
"""Before a stage has done anything, or when its work is done but not reported."""


class Hold:
    """One place where one try of a rollout's stage is held until it is let go."""

    def __init__(self, moment: Moment, *, deaf: bool) -> None:
        self.moment = moment
        self.deaf = deaf
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()
        self.over = asyncio.Event()
        """The try has done all it does."""

    async def pass_by(self, moment: Moment) -> None:
        """Wait here if this is the moment."""
        if moment == self.moment:
            self.reached.set()
            await self.let_go.wait()

    async def let_finish(self) -> None:
        """Let it go on, and wait until it has done all it does."""
        self.let_go.set()
        await self.over.wait()


class Holds(Interceptor):
    """Holds of many rollouts at once; a stage that nobody holds goes through."""

    def __init__(self) -> None:
        self._holds: dict[tuple[str, str], Hold] = {}

    def add(self, rollout: str, stage: str, moment: Moment, *, deaf: bool = False) -> Hold:
        """Hold the next try of a rollout's stage; to a deaf one no cancel comes through."""
        hold = self._holds[rollout, stage] = Hold(moment, deaf=deaf)
        return hold

    def take(self, rollout: str, stage: str) -> Hold | None:
        """What is meant for this try, once."""
        return self._holds.pop((rollout, stage), None)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand in front of every activity."""
        return _Held(next, self)


class _Held(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, holds: Holds) -> None:
        super().__init__(next)
        self._holds = holds

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        argument = input.args[0]
        if isinstance(argument, SweepRequest):
            return await super().execute_activity(input)
        order: Order = argument if isinstance(argument, Order) else argument.order
        hold = self._holds.take(order.rollout, input.fn.__name__)
        if hold is None:
            return await super().execute_activity(input)
        if not hold.deaf:
            return await self._held(input, hold)
        trying = asyncio.create_task(self._held(input, hold))
        while not trying.done():
            try:
                await asyncio.wait({trying})
            except asyncio.CancelledError:
                continue
        return trying.result()

    async def _held(self, input: ExecuteActivityInput, hold: Hold) -> Any:
        try:
            await hold.pass_by("before")
            result = await super().execute_activity(input)
            await hold.pass_by("during")
            return result
        finally:
            hold.over.set()


class Bench:
    """A client, and the sandboxes and holds of the worker that serves it."""

    def __init__(self, client: Client, sandboxes: Sandboxes, holds: Holds) -> None:
        self.client = client
        self.sandboxes = sandboxes
        self.holds = holds


@asynccontextmanager
async def working(options: StackOptions, **patience: float) -> AsyncGenerator[Bench]:
    """A stack without a worker, and a worker here; `patience` are settings of this worker."""
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(Stack(options))
        # The servers of the stack got these by their environment; the worker is in this process.
        update = {"create_settle_seconds": 2, "listing_lag_seconds": 0, **patience}
        settings = stack.settings.model_copy(update=update)
        client = await Client.connect(settings)
        await client.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
        sandboxes = await exits.enter_async_context(
            Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key)
        )
        holds = Holds()
        for one in worker.workers(
            "all", client.temporal, sandboxes, settings, client.deployment, [holds]
        ):
            await exits.enter_async_context(one)
        yield Bench(client, sandboxes, holds)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(stack_options: Callable[[bool], StackOptions]) -> AsyncGenerator[Bench, None]:
    """As patient with a silent worker as any."""
    async with working(stack_options(False)) as bench:
        yield bench


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hasty(stack_options: Callable[[bool], StackOptions]) -> AsyncGenerator[Bench, None]:
    """One whose rollouts give up a silent worker soon."""
    async with working(stack_options(False), heartbeat_seconds=2) as bench:
        yield bench
