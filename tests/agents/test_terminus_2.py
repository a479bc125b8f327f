"""What Terminus 2 is given. That it works with it is shown end to end, with the real one."""

import json
import subprocess
from typing import Any

import pytest

from rolldock.agents.agent import Launch
from rolldock.agents.terminus_2 import CONFIG_FILE, PROGRAM_FILE, TERMINUS_2
from tests.agents.launches import BASE_URL, HOLD_SECONDS, launched

INSTALL = TERMINUS_2.install or ""


def launch(**options: Any) -> Launch:
    """Its launch with some options."""
    return launched(TERMINUS_2, options)


def config(**options: Any) -> Any:
    """The arguments that a launch writes."""
    return json.loads(launch(**options).files[CONFIG_FILE])


def test_the_arguments_lead_to_the_gateway_alone() -> None:
    """With timeouts beyond the hold, no recording, no summaries and no limits."""
    written = config()
    assert written["model_name"] == "openai/rolldock"
    assert written["api_base"] == BASE_URL
    assert written["llm_kwargs"]["timeout"] > HOLD_SECONDS
    assert written["llm_kwargs"]["max_retries"] > 2
    assert written["parser_name"] == "json"
    assert written["enable_summarize"] is False
    assert written["record_terminal_session"] is False
    assert "max_turns" not in written
    assert "temperature" not in written


def test_the_key_is_in_no_file() -> None:
    """It comes in a variable, and goes into a file that the program removes."""
    described = launch()
    assert described.api_key_variables == ("ROLLDOCK_API_KEY",)
    assert "unset ROLLDOCK_API_KEY" in described.command
    assert "api_key" not in described.files[CONFIG_FILE]
    assert "path.unlink()" in described.files[PROGRAM_FILE]
    assert described.env == {}


def test_options_are_written() -> None:
    """Each where Terminus looks for it; extra configuration wins."""
    written = config(
        parser="xml",
        max_turns=7,
        context_tokens=32768,
        compact=True,
        extra_config={"interleaved_thinking": True, "llm_kwargs": {"timeout": 9}},
    )
    assert (written["parser_name"], written["max_turns"]) == ("xml", 7)
    assert written["enable_summarize"] is True
    assert written["model_info"]["max_input_tokens"] == 32768
    assert written["interleaved_thinking"] is True
    assert written["llm_kwargs"]["timeout"] == 9
    assert written["llm_kwargs"]["max_retries"] > 2


@pytest.mark.parametrize("script", [launch().command, INSTALL])
def test_its_scripts_are_valid_bash(script: str) -> None:
    """With whatever is in a file's name."""
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_its_program_needs_nothing_of_ours() -> None:
    """It runs where only its own packages are."""
    program = launch().files[PROGRAM_FILE]
    compile(program, PROGRAM_FILE, "exec")
    assert "import rolldock" not in program
    assert "from rolldock" not in program
