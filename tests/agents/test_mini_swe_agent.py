"""What mini-swe-agent is given. That it works with it is shown end to end, with the real one."""

import json
import subprocess
from typing import Any

import pytest

from rolldock.agents.agent import Launch
from rolldock.agents.mini_swe_agent import CONFIG_FILE, MINI_SWE_AGENT, PROGRAM_FILE
from tests.agents.launches import BASE_URL, HOLD_SECONDS, launched

INSTALL = MINI_SWE_AGENT.install or ""


def launch(**options: Any) -> Launch:
    """Its launch with some options."""
    return launched(MINI_SWE_AGENT, options)


def config(**options: Any) -> Any:
    """The configuration that a launch writes."""
    return json.loads(launch(**options).files[CONFIG_FILE])


def test_the_configuration_leads_to_the_gateway_alone() -> None:
    """Over its default, with timeouts beyond the hold, no costs, no limits and no questions."""
    written = config()
    assert written["base"] == "mini.yaml"
    assert written["model"]["model_name"] == "openai/rolldock"
    assert written["model"]["cost_tracking"] == "ignore_errors"
    sent = written["model"]["model_kwargs"]
    assert sent["api_base"] == BASE_URL
    assert sent["timeout"] > HOLD_SECONDS
    assert sent["max_retries"] > 2
    agent = written["agent"]
    assert (agent["mode"], agent["confirm_exit"]) == ("yolo", False)
    limits = ("cost_limit", "step_limit", "wall_time_limit_seconds")
    assert [agent[name] for name in limits] == [0, 0, 0]
    assert agent["output_path"].startswith("/logs/agent/")
    assert written["environment"]["timeout"] == 600


def test_the_key_is_in_no_file() -> None:
    """It comes in a variable, and goes into a file that the program removes."""
    described = launch()
    assert described.api_key_variables == ("ROLLDOCK_API_KEY",)
    assert "unset ROLLDOCK_API_KEY" in described.command
    assert "api_key" not in described.files[CONFIG_FILE]
    assert "path.unlink()" in described.files[PROGRAM_FILE]
    assert described.env == {}


def test_options_are_written() -> None:
    """Each where mini-swe-agent looks for it; extra configuration wins."""
    written = config(
        config="mini_textbased",
        max_turns=7,
        command_timeout_seconds=5,
        extra_config={
            "environment": {"env": {"PAGER": "less"}},
            "model": {"model_kwargs": {"temperature": 0.5}},
        },
    )
    assert written["base"] == "mini_textbased.yaml"
    assert written["model"]["model_class"] == "litellm_textbased"
    assert written["agent"]["step_limit"] == 7
    assert written["environment"] == {"timeout": 5, "env": {"PAGER": "less"}}
    assert written["model"]["model_kwargs"]["temperature"] == 0.5
    assert written["model"]["model_kwargs"]["api_base"] == BASE_URL


def test_a_system_prompt_is_a_value_of_its_template() -> None:
    """Its braces are then no template's."""
    template = config(system_prompt='Say "{{ x }}".\n你好')["agent"]["system_template"]
    assert template == '{{ "Say \\"{{ x }}\\".\\n你好" }}'


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
