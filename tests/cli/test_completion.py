"""Shell completion through the real command: names out of the cache, quickly and silently."""

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from rolldock.index.cache import IndexCache
from rolldock.index.place import cache_file
from rolldock.store.store import Store
from tests.index.entries import NOW, entry, write

Rolldock = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = {"temporalio", "prime_sandboxes", "rich", "rolldock.settings", "rolldock.models.base"}


@pytest.fixture
def cached(home: Path) -> Path:
    """A home whose cache knows three rollouts."""
    store = Store.open(str(home / "store"))
    path = cache_file(home / "cache", store.where)

    async def fill() -> None:
        await write(
            store,
            entry("exp/1", endpoint="qwen", ended_at=NOW - timedelta(minutes=1)),
            entry("exp/2", task="other", agent="opencode"),
            entry("weird/3"),
        )
        with closing(IndexCache.open(store, path)) as cache:
            await cache.refresh()

    asyncio.run(fill())
    return path


def complete(rolldock: Rolldock, line: str, **variables: str) -> list[str]:
    """What bash is offered at the end of a line."""
    done = rolldock(
        _ROLLDOCK_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(line.count(" ")),
        **variables,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rolldock show exp/", ["exp/2", "exp/1"]),
        ("rolldock logs -f w", ["weird/3"]),
        ("rolldock ls --experiment e", ["exp"]),
        ("rolldock stats --task o", ["other"]),
        ("rolldock ls --agent o", ["opencode"]),
        ("rolldock ls --endpoint q", ["qwen"]),
        ("rolldock sta", ["stats"]),
    ],
)
def test_names_are_offered(rolldock: Rolldock, cached: Path, line: str, offered: list[str]) -> None:
    """Ids, experiments, tasks, agents and endpoints that begin so, the newest ids first."""
    assert complete(rolldock, line) == offered


def test_a_stack_and_variables_say_where_the_cache_is(
    rolldock: Rolldock, cached: Path, home: Path, tmp_path: Path
) -> None:
    """The stack's file names store and cache, and a variable wins over it, as for every command."""
    moved = tmp_path / "moved"
    moved.mkdir()
    cached.rename(moved / cached.name)
    assert complete(rolldock, "rolldock show ") == []
    assert complete(rolldock, "rolldock show ", ROLLDOCK_CACHE=str(moved))[:1] == ["exp/2"]
    (home / "stack.env").write_text(f"ROLLDOCK_CACHE='{moved}'\nROLLDOCK_STORE='{home}/store'\n")
    assert complete(rolldock, "rolldock show ")[:1] == ["exp/2"]
    assert complete(rolldock, "rolldock show ", ROLLDOCK_STORE="s3://other") == []


def test_nothing_is_offered_and_nothing_said_where_the_cache_is_bad(
    rolldock: Rolldock, cached: Path
) -> None:
    """A damaged cache, or none, is no reason to write on a prompt."""
    cached.write_bytes(b"no database" * 1000)
    assert complete(rolldock, "rolldock show ") == []
    cached.unlink()
    assert complete(rolldock, "rolldock show ") == []


def test_completion_loads_nothing_heavy(rolldock: Rolldock, cached: Path) -> None:
    """A key press waits for no contract, setting or SDK, but for what typer itself loads."""
    done = rolldock(
        _ROLLDOCK_COMPLETE="complete_bash",
        COMP_WORDS="rolldock show e",
        COMP_CWORD="2",
        PYTHONPROFILEIMPORTTIME="1",
    )
    assert done.stdout.split() == ["exp/2", "exp/1"]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("shell", "loaded_by"),
    [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --command rolldock")],
)
def test_each_shell_has_its_script(rolldock: Rolldock, shell: str, loaded_by: str) -> None:
    """It is printed for the shell that is named, whichever started the command."""
    done = rolldock(_ROLLDOCK_COMPLETE=f"source_{shell}")
    assert done.returncode == 0, done.stderr
    assert loaded_by in done.stdout
    assert "_ROLLDOCK_COMPLETE" in done.stdout
