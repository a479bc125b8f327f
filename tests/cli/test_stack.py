"""The whole stack: real servers under the supervisor, killed, restarted and ended."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.processes import processes_of
from rolldock.cli.stack.stack import Stack
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.settings import Settings
from tests.rollouts import host_sandbox

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
]

ROLLDOCK = Path(sys.executable).with_name("rolldock")
PARTS = {"temporal", "gateway", "sandboxd", "scripted", "worker"}
GONE_SECONDS = 20.0
ATTEMPT = "0e3f9c52-6f2a-4b8e-9a51-5c1f0d8f7a11"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_stack(
    stack_options: Callable[[bool], StackOptions],
) -> AsyncGenerator[Stack, None]:
    """A stack that may be killed: not the one of the other tests."""
    async with Stack(stack_options(True)) as running:
        yield running
    assert processes_of(running.home.root) == {}
    assert not running.home.stack_file.exists()


async def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def test_is_whole_when_entered(own_stack: Stack) -> None:
    """Every part runs, and the stack file leads to it; only its owner may read that."""
    assert set(own_stack.processes) == PARTS
    file = own_stack.home.stack_file
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"PRIME_API_KEY='{own_stack.settings.prime_api_key}'" in file.read_text()


async def test_no_secret_in_a_command_line(own_stack: Stack) -> None:
    """Neither the secret nor the API key can be read from a list of processes."""
    commands = " ".join(processes_of(own_stack.home.root).values())
    assert commands
    assert own_stack.settings.read_secret().decode() not in commands
    assert str(own_stack.settings.prime_api_key) not in commands


@pytest.mark.parametrize("part", sorted(PARTS))
async def test_killed_part_comes_back(own_stack: Stack, part: str) -> None:
    """Whatever is killed serves again, with another process at the same address."""
    before = own_stack.processes[part]
    own_stack.kill(part)
    await asyncio.wait_for(own_stack.ready(part), 60)
    assert own_stack.processes[part] != before


async def test_second_up_is_refused(own_stack: Stack) -> None:
    """A second stack in the same home gets one line, and the first goes on."""
    before = own_stack.processes
    done = await asyncio.to_thread(
        subprocess.run,
        [ROLLDOCK, "up", "--auto-ports"],
        env=os.environ | {"ROLLDOCK_HOME": str(own_stack.home.root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"already (process {os.getpid()})" in done.stderr
    assert own_stack.processes == before
    assert own_stack.home.stack_file.exists()


async def test_kill_leaves_sandboxes_that_the_next_up_adopts_and_ends(
    environment: dict[str, str], home: Path
) -> None:
    """After a kill -9 of `up` only sandboxes live; the next one has them, and Ctrl-C ends all."""
    first = start_up(environment)
    sandbox = await create_sandbox(await settings_of(home))
    first.kill()
    first.wait()
    await wait_for(lambda: not servers_of(home), "servers outlived a kill -9 of their parent")
    assert processes_of(home), "the sandbox died with its server"

    second = start_up(environment)
    settings = await settings_of(home)
    async with sandboxes_of(settings) as sandboxes:
        assert [alive.id for alive in await sandboxes.alive()] == [sandbox]
    second.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(second.wait, 60) == 0
    assert processes_of(home) == {}
    assert not (home / "stack.env").exists()


async def test_ctrl_c_while_starting_leaves_nothing(
    environment: dict[str, str], home: Path
) -> None:
    """Interrupted before it is ready, `up` ends what it had started; exit code 130."""
    up = start_up(environment)
    await wait_for((home / "logs" / "temporal.log").exists, "nothing was started")
    up.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(up.wait, 60) == 130
    assert processes_of(home) == {}


def start_up(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [ROLLDOCK, "up", "--auto-ports"], env=environment, stdout=subprocess.DEVNULL
    )


async def settings_of(home: Path) -> Settings:
    """The settings of a stack once it is ready; a file that was left by a kill does not count."""
    file = home / "stack.env"
    deadline = time.monotonic() + 60
    started_at = time.time()
    while not (file.exists() and file.stat().st_mtime > started_at):
        assert time.monotonic() < deadline, "the stack did not become ready"
        await asyncio.sleep(0.05)
    return Settings(_env_file=file)  # pyright: ignore[reportCallIssue]


def sandboxes_of(settings: Settings):
    return Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key)


async def create_sandbox(settings: Settings) -> str:
    request = host_sandbox(Ownership(deployment="some-deployment", attempt=ATTEMPT))
    async with sandboxes_of(settings) as sandboxes:
        created, runs = await sandboxes.create(request)
        await sandboxes.wait_until_running(created, said_to_run=runs)
    return created


def servers_of(home: Path) -> list[str]:
    """The command lines of a home less its sandboxes and what carries their connections."""
    return [
        command
        for command in processes_of(home).values()
        if not command.startswith(("bwrap", "sleep")) and "sandboxd.forwarder" not in command
    ]
