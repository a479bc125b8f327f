"""The agent of a command line: a file of options, `--option`, a version."""

from pathlib import Path

import pytest

from rolldock.cli import agents
from rolldock.cli.asked_agent import asked_agent
from rolldock.errors import UsageError
from rolldock.settings import Settings


def test_options_win_over_the_file(tmp_path: Path) -> None:
    """Values of both are checked together; `@path` is the content of a file beside the TOML."""
    (tmp_path / "agent.py").write_text("print(1)")
    config = tmp_path / "agent.toml"
    config.write_text('run = "a"\nformat = "none"\n[programs]\n"agent.py" = "@agent.py"\n')
    asked = asked_agent("command", config=config, options=["run=b"], env=["A=1=2"])
    assert asked.options == {"run": "b", "format": "none", "programs": {"agent.py": "print(1)"}}
    assert asked.env == {"A": "1=2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("run =", "is not TOML"),
        ('[programs]\na = "@none.py"', r"none\.py: No such file or directory"),
        ('runs = "x"', "no option 'runs': did you mean run"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str, message: str) -> None:
    """With the place that is wrong."""
    config = tmp_path / "agent.toml"
    config.write_text(content)
    with pytest.raises(UsageError, match=message):
        asked_agent("command", config=config)


def test_a_version_cannot_lead_out_of_the_cache() -> None:
    """It is part of a path."""
    with pytest.raises(UsageError, match=r"'\.\./x' is no version"):
        asked_agent("opencode", version="../x")


async def test_a_described_agent_is_installed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its digest, in the cache that local sandboxes see."""
    config = tmp_path / "agent.toml"
    config.write_text('run = "x"\ncheck = "x"\ninstall = "echo 1 >> $AGENT_HOME/x"\n')
    monkeypatch.setenv("ROLLDOCK_AGENT_CACHE", str(tmp_path / "cache"))
    assert Settings.load().agent_cache == tmp_path / "cache"
    for _ in range(2):
        assert await agents.install(["command"], config=config) == 0
    made = list((tmp_path / "cache" / "command").glob("*/x"))
    assert [path.read_text() for path in made] == ["1\n"]
    with pytest.raises(UsageError, match="give --agent-config"):
        await agents.install(["command"])
