"""Killing and pausing a process of the arena."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from rolldock.cli.stack.processes import children_of
from rolldock.errors import UnavailableError
from tests.chaos.arena import HEARTBEAT_SECONDS, Arena
from tests.chaos.cases import Blow, Process

PAUSE_SECONDS: Final = HEARTBEAT_SECONDS + 1.5
"""Until the heartbeat is missed and the stage is tried again elsewhere."""


@asynccontextmanager
async def struck(arena: Arena, process: Process, blow: Blow, worker: int) -> AsyncGenerator[None]:
    """The process has been struck when the block begins; it serves again once it is left.

    Args:
        worker: the process id of the worker that is meant where it is a worker.
    """
    if blow is Blow.KILL:
        _kill(arena, process, worker)
        yield
        return
    pid = _pid(arena, process, worker)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        await asyncio.sleep(PAUSE_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)


def _kill(arena: Arena, process: Process, worker: int) -> None:
    match process:
        case Process.WORKER:
            arena.worker(worker).kill()
        case Process.GATEWAY:
            os.kill(_pid(arena, process, worker), signal.SIGKILL)
        case Process.GATEWAY_PARENT:
            arena.stack.kill("gateway")
        case Process.SANDBOXD | Process.TEMPORAL:
            arena.stack.kill(process)


def _pid(arena: Arena, process: Process, worker: int) -> int:
    match process:
        case Process.WORKER:
            return worker
        case Process.GATEWAY:
            return serving_gateway(arena)
        case Process.GATEWAY_PARENT:
            return arena.stack.processes["gateway"]
        case Process.SANDBOXD | Process.TEMPORAL:
            return arena.stack.processes[process]


def serving_gateway(arena: Arena) -> int:
    """The gateway's child, the one process that its parent has.

    Raises:
        UnavailableError: there is none.
    """
    children = children_of(arena.stack.processes["gateway"])
    if len(children) != 1:
        raise UnavailableError(f"the gateway's parent has {len(children)} children")
    return children[0]
