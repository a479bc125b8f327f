"""`command`: a program described by options alone."""

import pytest
from pydantic import JsonValue

from rolldock.agents.agent import Agent, Launch
from rolldock.agents.registry import agent_of, check_options, get_agent
from rolldock.errors import UsageError
from rolldock.models.spec import AgentRef
from tests.agents.launches import BASE_URL, launched


def described(**options: JsonValue) -> Agent:
    """The agent of some options."""
    check_options(get_agent("command"), options)
    return agent_of(AgentRef(name="command", options=options))


def launch_of(**options: JsonValue) -> Launch:
    """What it launches."""
    agent = described(**options)
    return launched(
        agent,
        options,
        home="/opt/rolldock/bundled/command/1",
        instruction_file="/task.md",
        model="m",
        hold_seconds=agent.hold_seconds,
    )


def test_every_place_is_in_a_variable() -> None:
    """Ours, and those of the format's own clients; the key is named, not contained."""
    launch = launch_of(run="agent")
    assert launch.command == "agent"
    assert launch.env == {
        "ROLLDOCK_INSTRUCTION_FILE": "/task.md",
        "ROLLDOCK_WORKDIR": "/app",
        "ROLLDOCK_AGENT_HOME": "/opt/rolldock/bundled/command/1",
        "ROLLDOCK_LOGS": "/logs/agent",
        "ROLLDOCK_BASE_URL": BASE_URL,
        "ROLLDOCK_MODEL": "m",
        "OPENAI_BASE_URL": BASE_URL,
    }
    assert launch.api_key_variables == ("ROLLDOCK_API_KEY", "OPENAI_API_KEY")


def test_anthropic_clients_get_a_url_without_v1() -> None:
    """Wherever it is wanted, unless the options say otherwise."""
    launch = launch_of(run="x", format="anthropic.messages", base_url_variable="MY_URL")
    assert launch.env["ANTHROPIC_BASE_URL"] == launch.env["MY_URL"] == BASE_URL.removesuffix("/v1")
    told = launch_of(
        run="x", format="anthropic.messages", base_url_variable="MY_URL", base_url_with_v1=True
    )
    assert told.env["MY_URL"] == BASE_URL


def test_files_and_variables_are_filled_in() -> None:
    """What is no known name stays as it is."""
    launch = launch_of(
        run="x",
        files={"/etc/agent.json": '{"url": "${base_url}", "home": "$HOME", "m": "${model}"}'},
        env={"ROOT": "${base_url_root}"},
        api_key_variable="MY_KEY",
    )
    written = launch.files["/etc/agent.json"]
    assert written == f'{{"url": "{BASE_URL}", "home": "$HOME", "m": "m"}}'
    assert launch.env["ROOT"] == BASE_URL.removesuffix("/v1")
    assert launch.api_key_variables[-1] == "MY_KEY"


def test_a_program_that_calls_no_model_gets_no_key() -> None:
    """TOML has no null, so the format is said to be none."""
    assert described(run="x", format="none").dialect is None
    launch = launch_of(run="x", format="none")
    assert launch.api_key_variables == ()
    assert "ROLLDOCK_BASE_URL" not in launch.env


def test_the_install_is_part_of_the_version() -> None:
    """So that two programs never share a directory of the cache."""
    first, again = (described(run="x", install="a", check="b") for _ in range(2))
    assert first.version == again.version
    assert first.install == "a"
    assert first.version != described(run="x", install="c", check="b").version
    named = AgentRef(name="command", version="7", options={"run": "x"})
    assert agent_of(named).version == "7"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "command needs option run"),
        ({"run": "x", "format": "grpc"}, "option format = 'grpc'"),
        ({"run": "x", "files": {"relative": ""}}, "'relative' is no absolute path"),
        ({"run": "x", "check": "bin/x"}, "give install too"),
        ({"run": "x", "install": "y", "programs": {"a": "b"}}, "not both"),
        ({"run": "x", "programs": {"a": "b" * 40_000}}, "let `install` fetch them"),
        ({"run": "x", "command": "y"}, "no option 'command'"),
    ],
)
def test_what_cannot_be_used_is_named(options: dict[str, JsonValue], message: str) -> None:
    """Before any sandbox is made."""
    with pytest.raises(UsageError, match=message):
        check_options(get_agent("command"), options)
