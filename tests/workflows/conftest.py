"""A worker in the test's own process, whose activities can be held at any moment.

The activities are the real ones, against the real servers of a stack; a Temporal interceptor
stands between the server and them, and waits where a test says so.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
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
    """One place where one rollout is held until it is let go."""

    def __init__(self, rollout: str, stage: str, moment: Moment) -> None:
        self.place = (rollout, stage, moment)
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()


class Holds(Interceptor):
    """Holds of many rollouts at once; a stage that nobody holds goes through."""

    def __init__(self) -> None:
        self._holds: dict[tuple[str, str, Moment], Hold] = {}

    def add(self, rollout: str, stage: str, moment: Moment) -> Hold:
        """Hold a rollout at a place, the first time that it gets there."""
        hold = Hold(rollout, stage, moment)
        self._holds[hold.place] = hold
        return hold

    async def pass_by(self, rollout: str, stage: str, moment: Moment) -> None:
        """Wait here if this place is held."""
        hold = self._holds.pop((rollout, stage, moment), None)
        if hold is not None:
            hold.reached.set()
            await hold.let_go.wait()

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
        stage = input.fn.__name__
        await self._holds.pass_by(order.rollout, stage, "before")
        result = await super().execute_activity(input)
        await self._holds.pass_by(order.rollout, stage, "during")
        return result


class Bench:
    """A client, and the holds of the worker that serves it."""

    def __init__(self, client: Client, holds: Holds) -> None:
        self.client = client
        self.holds = holds


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(
    stack_options: Callable[[bool], StackOptions],
) -> AsyncGenerator[Bench, None]:
    """A stack without a worker, and a worker here."""
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(Stack(stack_options(False)))
        # The servers of the stack got these by their environment; the worker is in this process.
        settings = stack.settings.model_copy(
            update={"create_settle_seconds": 2, "listing_lag_seconds": 0}
        )
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
        yield Bench(client, holds)
