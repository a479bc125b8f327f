"""Pausing a part of the stack, and a whole stack that takes faults."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from rolldock.cli.stack.child import Child
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.program import Program
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from tests.eventually import eventually

PARENT = (
    "import signal, subprocess, sys;"
    "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'],"
    " stdin=subprocess.PIPE);"
    "print('listening on', child.pid, flush=True); signal.pause()"
)
"""Like the gateway's: its child ends once this process is gone."""


def state(pid: int) -> str:
    """The state of a process as the kernel tells it: T where it is stopped; "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


async def started(logs: Path) -> tuple[Child, int, int]:
    """A supervised process with a child of its own, and the ids of both."""
    program = Program(
        name="parent",
        command=(sys.executable, "-c", PARENT),
        env=dict(os.environ),
        ready_line="listening on ",
        stop_seconds=60,
    )
    child = Child(program, logs, Path.cwd(), print)
    await child.start()
    assert child.pid is not None
    return child, child.pid, int(child.log.read_text().split()[-1])


async def test_pause_and_resume(tmp_path: Path) -> None:
    """A paused part does nothing, its own children neither; resumed, it goes on."""
    child, parent, grandchild = await started(tmp_path)
    child.pause()
    await eventually(lambda: (state(parent), state(grandchild)) == ("T", "T"))
    child.resume()
    await eventually(lambda: "T" not in (state(parent), state(grandchild)))
    await child.stop()


async def test_a_paused_part_can_be_stopped(tmp_path: Path) -> None:
    """Stopping does not wait for the time after which it would kill."""
    child, parent, grandchild = await started(tmp_path)
    child.pause()
    await eventually(lambda: state(parent) == "T")
    await asyncio.wait_for(child.stop(), 20)
    await eventually(lambda: state(grandchild) in ("", "Z"))


async def test_a_paused_part_can_be_killed(tmp_path: Path) -> None:
    """Nothing of it stays stopped for ever, and the supervisor starts it again."""
    child, parent, grandchild = await started(tmp_path)
    child.pause()
    await eventually(lambda: state(grandchild) == "T")
    child.kill()
    await asyncio.wait_for(child.ready(), 20)
    await eventually(lambda: state(grandchild) in ("", "Z"))
    assert child.pid != parent
    await child.stop()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root")
async def test_a_stack_that_takes_faults(
    stack_options: Callable[[bool], StackOptions],
) -> None:
    """One option switches faults on in all three servers; a paused gateway answers later."""
    options = stack_options(False).model_copy(update={"faults": True})
    async with Stack(options) as stack:
        for port in (Port.GATEWAY, Port.SANDBOXD, Port.SCRIPTED):
            async with FaultClient(stack.origin(port), stack.settings.prime_api_key) as faults:
                assert (await faults.state()).faults == ()
        async with httpx.AsyncClient(base_url=stack.origin(Port.GATEWAY)) as http:
            stack.pause("gateway")
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/healthz", timeout=0.3)
            stack.resume("gateway")
            assert (await http.get("/healthz", timeout=20)).status_code == 200
        stack.pause("gateway")
