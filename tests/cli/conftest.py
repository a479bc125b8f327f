"""The real command in processes of its own, each test in a home of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rolldock.cli.stack.processes import processes_of
from rolldock.cli.stack.stack import Stack

ROLLDOCK = Path(sys.executable).with_name("rolldock")

Rolldock = Callable[..., subprocess.CompletedProcess[str]]
Beside = Callable[[Stack], None]
Say = Callable[[Awaitable[int]], Awaitable[str]]
_FOREIGN = ("ROLLDOCK_", "PRIME_", "TEMPORAL_")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state directory that does not exist yet; whatever still runs in it at the end is killed."""
    directory = tmp_path / "home"
    yield directory
    for pid in processes_of(directory):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a command in that home; nothing of another deployment is left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return kept | {
        "HOME": str(tmp_path),
        "ROLLDOCK_HOME": str(home),
        "ROLLDOCK_AGENT_CACHE": str(tmp_path / "agents"),
    }


@pytest.fixture
def rolldock(environment: dict[str, str], tmp_path: Path) -> Rolldock:
    """Runs `rolldock` with arguments to its end."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROLLDOCK, *arguments],
            env=environment | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Beside:
    """Lets this process's commands find a stack by its home, as if they were typed beside it."""

    def move(stack: Stack) -> None:
        for name in list(os.environ):
            if name.startswith(_FOREIGN):
                monkeypatch.delenv(name)
        monkeypatch.setenv("ROLLDOCK_HOME", str(stack.home.root))

    return move


@pytest.fixture
def beside_the_stack(stack: Stack, beside: Beside) -> None:
    """Commands find the stack of all tests."""
    beside(stack)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command's action, which must succeed, and returns what it printed on stdout."""

    async def run_action(action: Awaitable[int]) -> str:
        capsys.readouterr()
        assert await action == 0
        return capsys.readouterr().out

    return run_action
