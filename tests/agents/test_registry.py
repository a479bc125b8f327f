"""The registry, and what every agent promises."""

from typing import Any

import pytest

from rolldock.agents.agent import Launch
from rolldock.agents.registry import agent_names, check_options, get_agent
from rolldock.errors import UsageError
from tests.agents.launches import launched

BAD_OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("nop", {"x": 1}, "agent nop has no option 'x': it takes none"),
    ("opencode", {"max_turn": 1}, "has no option 'max_turn': did you mean max_turns"),
    ("opencode", {"max_turns": 0}, r"option max_turns = 0: "),
    ("opencode", {"disabled_tools": "webfetch"}, "option disabled_tools = 'webfetch'"),
    ("codex", {"extra_config": {"a": [None]}}, "option extra_config = .*: TOML has no null"),
    ("bash", {"command_timeout_seconds": "long"}, "command_timeout_seconds = 'long'"),
]


def launch(name: str, **options: Any) -> Launch:
    """An agent's launch in a plain context."""
    agent = get_agent(name)
    check_options(agent, options)
    return launched(
        agent,
        options,
        home=f"/opt/rolldock/agents/{name}/{agent.version}",
        model="some/model:7b",
        hold_seconds=agent.hold_seconds,
    )


def test_the_names_of_this_release() -> None:
    """Sorted."""
    assert agent_names() == (
        "bash",
        "claude-code",
        "codex",
        "command",
        "mini-swe-agent",
        "nop",
        "opencode",
        "oracle",
        "terminus-2",
    )


def test_an_unknown_agent_is_answered_with_the_nearest() -> None:
    """Or with all names where none is near."""
    with pytest.raises(UsageError, match=r"unknown agent 'opncode': did you mean opencode or "):
        get_agent("opncode")
    with pytest.raises(UsageError, match="there are bash, claude-code, codex, command"):
        get_agent("zzz")


@pytest.mark.parametrize(("name", "options", "message"), BAD_OPTIONS)
def test_wrong_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    """Before any sandbox is made."""
    with pytest.raises(UsageError, match=message):
        check_options(get_agent(name), options)


@pytest.mark.parametrize("name", [name for name in agent_names() if name != "command"])
def test_an_agent_describes_itself(name: str) -> None:
    """Files have absolute paths, secrets are named and not contained."""
    agent = get_agent(name)
    described = launch(name)
    assert all(path.startswith("/") for path in described.files)
    assert bool(described.api_key_variables) == (agent.dialect is not None)
    assert agent.install is None or agent.check is not None


def test_the_oracle_runs_the_solution() -> None:
    """Itself, whatever its first line names; never through a pipe, which a service left running
    would hold open."""
    assert get_agent("oracle").needs_solution
    command = launch("oracle").command
    assert "&& /solution/solve.sh > /logs/agent/oracle.txt" in command
    assert "|" not in command
