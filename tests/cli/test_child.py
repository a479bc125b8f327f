"""The supervisor of one process, with small real programs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rolldock.cli.stack.child import Child
from rolldock.cli.stack.program import Program
from rolldock.errors import UnavailableError

SERVES = "import signal; print('listening on somewhere', flush=True); signal.pause()"
SLOW_TO_END = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('listening on somewhere', flush=True); signal.pause()"
)
PARENT = """
import asyncio, os, sys
from pathlib import Path
from rolldock.cli.stack.child import Child
from rolldock.cli.stack.program import Program

async def main():
    program = Program(name="child", command=(sys.executable, "-c", sys.argv[1]),
                      env=dict(os.environ), ready_line="listening on ")
    child = Child(program, Path(sys.argv[2]), Path.cwd(), print)
    await child.start()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def program(code: str, *, stop_seconds: float = 10) -> Program:
    return Program(
        name="child",
        command=(sys.executable, "-c", code),
        env=dict(os.environ),
        ready_line="listening on ",
        stop_seconds=stop_seconds,
    )


@asynccontextmanager
async def started(
    code: str, logs: Path, say: Callable[[str], None] = print, stop_seconds: float = 10
) -> AsyncGenerator[Child, None]:
    child = Child(program(code, stop_seconds=stop_seconds), logs, Path.cwd(), say)
    try:
        await child.start()
        yield child
    finally:
        await child.stop()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_is_ready_once_it_says_so(tmp_path: Path) -> None:
    """Starting returns when the line is there, with the process running and its output logged."""
    async with started(SERVES, tmp_path) as child:
        assert child.pid is not None
        assert alive(child.pid)
        assert child.log.read_text() == "listening on somewhere\n"


async def test_killed_is_started_again(tmp_path: Path) -> None:
    """A child that dies by SIGKILL is back with another process, and the supervisor says so."""
    said: list[str] = []
    async with started(SERVES, tmp_path, said.append) as child:
        first = child.pid
        child.kill()
        await asyncio.wait_for(child.ready(), 20)
        assert child.pid not in (None, first)
    assert len(said) == 1
    assert "child ended (SIGKILL)" in said[0]


async def test_restart_is_at_once(tmp_path: Path) -> None:
    """A restart that was asked for waits for no backoff and is no news."""
    said: list[str] = []
    async with started(SERVES, tmp_path, said.append) as child:
        first = child.pid
        await asyncio.wait_for(child.restart(), 20)
        assert child.pid not in (None, first)
    assert said == []


async def test_failing_again_and_again_backs_off(tmp_path: Path) -> None:
    """A child that cannot come back is tried with growing pauses, and can still be stopped."""
    said: list[str] = []
    tried = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        if sum("starting it again" in each for each in said) == 3:
            tried.set()

    once = (
        "import pathlib, signal, sys; mark = pathlib.Path('{mark}')\n"
        "if mark.exists(): sys.exit('no second time')\n"
        "mark.touch(); print('listening on somewhere', flush=True); signal.pause()"
    ).format(mark=tmp_path / "mark")
    async with started(once, tmp_path, say) as child:
        child.kill()
        await asyncio.wait_for(tried.wait(), 20)
    pauses = [line.split(" in ")[1].split(";")[0] for line in said if "starting it again" in line]
    assert pauses == ["0.2 s", "0.4 s", "0.8 s"]
    assert any("no second time" in line for line in said)


async def test_not_starting_gives_its_last_line(tmp_path: Path) -> None:
    """A child that ends before it is ready fails the start with what it said last."""
    with pytest.raises(UnavailableError, match=r"exit code 1\): nothing works here"):
        async with started("import sys; sys.exit('nothing works here')", tmp_path):
            pass


async def test_what_the_caller_must_mend_is_shown_as_it_is(tmp_path: Path) -> None:
    """Exit code 2 means that the server's own line says it all: it becomes the message."""
    code = "import sys; print('needs root: run it with sudo', file=sys.stderr); sys.exit(2)"
    with pytest.raises(UnavailableError, match=r"^needs root: run it with sudo$"):
        async with started(code, tmp_path):
            pass


async def test_an_earlier_readiness_does_not_count(tmp_path: Path) -> None:
    """The line of an earlier run in the same log does not make a later one ready."""
    async with started(SERVES, tmp_path):
        pass
    with pytest.raises(UnavailableError, match="broken"):
        async with started("import sys; sys.exit('broken')", tmp_path):
            pass


async def test_stop_kills_what_ignores_sigterm(tmp_path: Path) -> None:
    """Stopping is bounded: SIGKILL follows when the time to end is over."""
    child = Child(program(SLOW_TO_END, stop_seconds=0.2), tmp_path, Path.cwd(), print)
    await child.start()
    pid = child.pid
    assert pid is not None
    await asyncio.wait_for(child.stop(), 10)
    assert not alive(pid)


def test_dies_with_its_parent(tmp_path: Path) -> None:
    """After a kill -9 of the supervising process the kernel ends the child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, SERVES, tmp_path], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline
        os.sched_yield()
