"""Kills a random process of a stack every few seconds and makes its servers misbehave.

What it does is drawn from a seeded generator, so that a run can be had again as far as timing goes.
"""

import asyncio
import os
import random
import signal
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, Self

from rolldock.cli.stack.options import Port
from rolldock.cli.stack.processes import children_of
from rolldock.cli.stack.stack import Stack
from rolldock.errors import RolldockError
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Cut, Delay, Drop, Fault, Late
from rolldock.trainer.client import Client

PROCESSES: Final = ("worker", "gateway", "gateway parent", "sandboxd", "temporal")

_CREATE: Final = "/api/v1/sandbox"
_ONE: Final = "/api/v1/sandbox/[^/]+"
_ANY: Final = "/.*"
_CALL: Final = ".*/chat/completions"

SANDBOXD_FAULTS: Final = {
    "create: 503": Fault(method="POST", path=_CREATE, action=Answer(status=503)),
    "create: 429": Fault(
        method="POST", path=_CREATE, action=Answer(status=429, retry_after_seconds=1)
    ),
    "create: answer lost": Fault(method="POST", path=_CREATE, action=Drop(when="after")),
    "create: late": Fault(method="POST", path=_CREATE, action=Late(seconds=2)),
    "list: 500": Fault(method="GET", path=_CREATE, action=Answer(status=500), times=2),
    "delete: 500": Fault(method="DELETE", path=_ONE, action=Answer(status=500), times=3),
    "any: slow": Fault(path=_ANY, action=Delay(seconds=1.5), times=5),
    "any: dropped": Fault(path=_ANY, action=Drop(), times=3),
}
MODEL_FAULTS: Final = {
    "model: 429": Fault(path=_CALL, action=Answer(status=429, retry_after_seconds=1), times=3),
    "model: 500": Fault(path=_CALL, action=Answer(status=500), times=3),
    "model: cut": Fault(path=_CALL, action=Cut(n_bytes=40), times=2),
    "model: slow": Fault(path=_CALL, action=Delay(seconds=2), times=4),
}
GATEWAY_FAULTS: Final = {
    "gateway: refused": Fault(path=_CALL, action=Answer(status=503), times=2),
    "gateway: dropped": Fault(path=_CALL, action=Drop(), times=2),
    "gateway: slow": Fault(path=_CALL, action=Delay(seconds=2), times=3),
}
LOSE: Final = "sandbox: lost"
_MANY: Final = 8
"""Living sandboxes from which one may be lost: the last rollout would lose one after the other."""
_AT_A_TIME: Final = 8
"""Faults in force: the last rollouts of a run are few and would meet all that nobody else has."""


class Monkey:
    """One monkey on one stack; counts what it did."""

    def __init__(self, stack: Stack, client: Client, seed: int) -> None:
        self._stack = stack
        self._client = client
        self._random = random.Random(seed)
        self._sandboxd = FaultClient(stack.origin(Port.SANDBOXD), stack.settings.prime_api_key)
        self._model = FaultClient(stack.origin(Port.SCRIPTED))
        self._gateway = FaultClient(stack.origin(Port.GATEWAY))
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    @asynccontextmanager
    async def let_loose(self, kill_seconds: float, fault_seconds: float) -> AsyncGenerator[Self]:
        """Make trouble while the block runs; all servers are well again when it has ended."""
        async with AsyncExitStack() as exits:
            for server in (self._sandboxd, self._model, self._gateway):
                await exits.enter_async_context(server)
            tasks = [
                asyncio.create_task(self._kill_again_and_again(kill_seconds)),
                asyncio.create_task(self._misbehave_again_and_again(fault_seconds)),
            ]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._heal()

    async def _kill_again_and_again(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * seconds)
            process = self._random.choice(PROCESSES)
            if process == "gateway":
                self._kill_serving_gateway()
            else:
                self._stack.kill(process.split()[0])
            self.kills[process] += 1

    def _kill_serving_gateway(self) -> None:
        """The child that serves; its parent holds the socket and starts another."""
        parent = self._stack.processes.get("gateway")
        with suppress(OSError):
            for child in children_of(parent) if parent is not None else ():
                os.kill(child, signal.SIGKILL)

    async def _misbehave_again_and_again(self, seconds: float) -> None:
        servers = (
            (self._sandboxd, SANDBOXD_FAULTS),
            (self._model, MODEL_FAULTS),
            (self._gateway, GATEWAY_FAULTS),
        )
        in_force: deque[tuple[FaultClient, str]] = deque()
        choices = [(server, name, fault) for server, of in servers for name, fault in of.items()]
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * seconds)
            # A server that was just killed takes no faults: it has one already.
            with suppress(RolldockError):
                if self._random.random() < 1 / len(choices):
                    await self._lose_a_sandbox()
                    continue
                server, name, fault = self._random.choice(choices)
                in_force.append((server, await server.add(fault)))
                self.faults[name] += 1
                if len(in_force) > _AT_A_TIME:
                    server, fault_id = in_force.popleft()
                    await server.remove(fault_id)

    async def _lose_a_sandbox(self) -> None:
        alive = [one.sandbox.id for one in await self._client.sandboxes()]
        if len(alive) >= _MANY:
            await self._sandboxd.harm(self._random.choice(alive), "lose")
            self.faults[LOSE] += 1

    async def _heal(self) -> None:
        for name in ("temporal", "gateway", "sandboxd", "worker"):
            await self._stack.ready(name)
        for server in (self._sandboxd, self._model, self._gateway):
            await server.clear()
