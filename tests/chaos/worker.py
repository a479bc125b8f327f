"""The worker of the chaos tests: the real one, whose activities ask the harness before and after.

    python -m tests.chaos.worker

The socket of the harness is in ROLLDOCK_CHAOS_SOCKET; all else is as for `worker.py`.
"""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any, NoReturn

from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from rolldock.models.result import Stage
from rolldock.models.stages import Order
from rolldock.sandbox.client import Sandboxes
from rolldock.settings import Settings
from rolldock.trainer.connection import connect_temporal, deployment_of
from tests.chaos.cases import Moment
from tests.chaos.holds import SOCKET_VARIABLE, Report
from worker import workers

READY = "worker ready"


class Asking(Interceptor):
    """Puts a question to the harness before and after each activity."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand in front of every activity."""
        return _Asked(next, self._socket)


class _Asked(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, socket: str) -> None:
        super().__init__(next)
        self._socket = socket

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().activity_type not in tuple(Stage):
            return await super().execute_activity(input)
        argument = input.args[0]
        order: Order = argument if isinstance(argument, Order) else argument.order
        await self._ask(order, Moment.BEFORE)
        try:
            result = await super().execute_activity(input)
        except BaseException:
            await self._ask(order, Moment.AFTER, failed=True)
            raise
        await self._ask(order, Moment.AFTER)
        return result

    async def _ask(self, order: Order, moment: Moment, *, failed: bool = False) -> None:
        report = Report(
            rollout=order.rollout,
            attempt=order.attempt,
            stage=Stage(activity.info().activity_type),
            moment=moment,
            pid=os.getpid(),
            tries=activity.info().attempt,
            failed=failed,
        )
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(report.model_dump_json().encode() + b"\n")
            await reader.readline()
        finally:
            writer.close()


async def run(settings: Settings, socket: str) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    temporal = await connect_temporal(settings)
    deployment = await deployment_of(temporal)
    async with AsyncExitStack() as exits:
        sandboxes = await exits.enter_async_context(
            Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key)
        )
        running = workers("all", temporal, sandboxes, settings, deployment, [Asking(socket)])
        for one in running:
            await exits.enter_async_context(one)
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        await stop.wait()
        await asyncio.gather(*(one.shutdown() for one in running))


def main() -> NoReturn:
    """Read the settings, and run."""
    asyncio.run(run(Settings.load(), os.environ[SOCKET_VARIABLE]))
    # As in `worker.py`: the SDK's native threads can crash an interpreter that is being finalised.
    os._exit(0)


if __name__ == "__main__":
    main()
