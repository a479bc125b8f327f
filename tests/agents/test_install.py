"""Installing agents into a machine's cache, with install scripts of the tests' own."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rolldock.agents.agent import Agent, AgentContext, Launch
from rolldock.agents.registry import get_agent
from rolldock.cli.install import install_agent, is_installed
from rolldock.errors import UsageError


def some_agent(install: str, requires: tuple[str, ...] = ()) -> Agent:
    """An agent that is installed by a script."""

    def launch(context: AgentContext) -> Launch:
        return Launch(command=f"{context.home}/bin/run")

    return Agent(
        name="some",
        version="1.2",
        install=install,
        requires=requires,
        check="bin/run",
        launch=launch,
    )


GOOD = (
    'echo x >> "$COUNTER"; mkdir "$AGENT_HOME/bin"; echo "$AGENT_VERSION" > "$AGENT_HOME/bin/run"'
)


def test_an_install_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that race one waits for the other, and a later one finds it there."""
    counter = tmp_path / "counter"
    monkeypatch.setenv("COUNTER", str(counter))
    agent, cache = some_agent(GOOD), tmp_path / "cache"
    assert not is_installed(agent, cache)
    with ThreadPoolExecutor(2) as pool:
        homes = set(pool.map(install_agent, [agent, agent], [cache, cache]))
    assert homes == {install_agent(agent, cache)} == {cache / "some" / "1.2"}
    assert (cache / "some" / "1.2" / "bin" / "run").read_text() == "1.2\n"
    assert counter.read_text() == "x\n"
    assert is_installed(agent, cache)


def test_a_failed_install_leaves_nothing(tmp_path: Path) -> None:
    """Its last output is in one line."""
    with pytest.raises(UsageError, match=r"some 1\.2 failed with exit code 7: one \| two$"):
        install_agent(some_agent("echo one; echo two >&2; exit 7"), tmp_path)
    assert [path.name for path in (tmp_path / "some").iterdir()] == [".lock"]


def test_an_install_that_makes_nothing_is_a_failure(tmp_path: Path) -> None:
    """Exit code 0 alone is not believed."""
    with pytest.raises(UsageError, match="left no bin/run"):
        install_agent(some_agent("true"), tmp_path)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    """With how to get it, and before anything is made."""
    with pytest.raises(UsageError, match="agent some needs no-such-npm, which is not here"):
        install_agent(some_agent("true", ("no-such-npm",)), tmp_path)
    assert not (tmp_path / "some").exists()


@pytest.mark.parametrize("name", ["nop", "bash"])
def test_an_agent_that_needs_nothing_is_installed(tmp_path: Path, name: str) -> None:
    """Nothing is made for it; a bundled one is uploaded to each sandbox."""
    assert is_installed(get_agent(name), tmp_path)
    install_agent(get_agent(name), tmp_path)
    assert list(tmp_path.iterdir()) == []
