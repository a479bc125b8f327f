"""What Claude Code is given. That it works with it is shown end to end, with the real one."""

import json
import shlex
import subprocess
from typing import Any

import pytest

from rolldock.agents.agent import Launch
from rolldock.agents.claude_code import CLAUDE_CODE, PROMPT_FILE, SETTINGS_FILE
from tests.agents.launches import BASE_URL, HOLD_SECONDS, MODEL, launched


def launch(**options: Any) -> Launch:
    """Its launch with some options."""
    return launched(CLAUDE_CODE, options)


def arguments(**options: Any) -> list[str]:
    """What the program is called with."""
    command = launch(**options).command.replace("\\\n", " ")
    call = next(line for line in command.splitlines() if "/bin/claude " in line)
    return shlex.split(call.partition(" < ")[0])[1:]


def test_the_environment_leads_to_the_gateway_alone() -> None:
    """Its URL without /v1, one model for everything, timeouts beyond the hold, no calls home."""
    env = launch().env
    assert env["ANTHROPIC_BASE_URL"] == BASE_URL.removesuffix("/v1")
    models = {value for name, value in env.items() if name.endswith("_MODEL")}
    assert models == {MODEL}
    assert int(env["API_TIMEOUT_MS"]) > HOLD_SECONDS * 1000
    assert int(env["CLAUDE_STREAM_IDLE_TIMEOUT_MS"]) > HOLD_SECONDS * 1000
    assert env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert env["ENABLE_TOOL_SEARCH"] == "false"
    assert json.loads(launch().files[SETTINGS_FILE]) == {"skipWebFetchPreflight": True}


def test_the_key_is_in_no_file_and_no_variable() -> None:
    """It comes in a variable of ours and goes on in a descriptor whose file is gone by then."""
    described = launch()
    assert described.api_key_variables == ("ROLLDOCK_API_KEY",)
    assert described.env["CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR"] == "3"
    assert not any("API_KEY" in name for name in described.env if "DESCRIPTOR" not in name)
    assert "unset ROLLDOCK_API_KEY" in described.command
    assert "rm /tmp/rolldock-claude-code/key" in described.command


def test_it_is_called_without_a_terminal_and_without_questions() -> None:
    """By default only the web search, which runs at Anthropic, is missing."""
    assert arguments() == [
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--dangerously-skip-permissions",
        f"--settings={SETTINGS_FILE}",
        f"--model={MODEL}",
        "--disallowed-tools=WebSearch",
    ]


def test_options_are_written() -> None:
    """Each where Claude Code looks for it; a prompt in a file, whatever it holds."""
    options: dict[str, Any] = {
        "system_prompt": "Say 'hi'.\nThen $HOME.",
        "disabled_tools": ["WebFetch", "Bash(git push *)"],
        "max_turns": 7,
        "context_tokens": 32768,
        "output_tokens": 4096,
        "extra_config": {
            "permissions": {"deny": ["Read(./secret)"]},
            "skipWebFetchPreflight": False,
        },
    }
    described = launch(**options)
    called = arguments(**options)
    assert described.files[PROMPT_FILE] == "Say 'hi'.\nThen $HOME."
    assert f"--system-prompt-file={PROMPT_FILE}" in called
    assert "--disallowed-tools=WebFetch,Bash(git push *)" in called
    assert "--max-turns=7" in called
    assert described.env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "32768"
    assert described.env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "4096"
    assert "DISABLE_COMPACT" not in described.env
    assert json.loads(described.files[SETTINGS_FILE]) == options["extra_config"]


def test_every_tool_can_be_offered() -> None:
    """For a model server that runs Anthropic's own tools."""
    assert not any("disallowed" in argument for argument in arguments(disabled_tools=[]))


def test_without_a_context_length_nothing_is_summarised() -> None:
    """A summary would end one sample and begin another."""
    env = launch().env
    assert env["DISABLE_COMPACT"] == "1"
    assert int(env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"]) > 10_000_000


@pytest.mark.parametrize("script", [launch(max_turns=3).command, CLAUDE_CODE.install])
def test_its_scripts_are_valid_bash(script: str) -> None:
    """With whatever is in a model's or a file's name."""
    subprocess.run(["bash", "-n", "-c", script], check=True)
