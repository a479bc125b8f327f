"""What OpenCode is given. That it works with it is shown end to end, with the real one."""

import json
import subprocess
from typing import Any

import pytest

from rolldock.agents.agent import Launch
from rolldock.agents.opencode import CONFIG_FILE, OPENCODE
from tests.agents.launches import BASE_URL, HOLD_SECONDS, MODEL, launched


def launch(**options: Any) -> Launch:
    """Its launch with some options."""
    return launched(OPENCODE, options)


def config(**options: Any) -> Any:
    """The configuration that a launch writes."""
    return json.loads(launch(**options).files[CONFIG_FILE])


def test_the_configuration_leads_to_the_gateway_alone() -> None:
    """One provider, timeouts beyond the hold, no title, nothing that calls home."""
    written = config()
    provider = written["provider"]["rolldock"]
    assert provider["npm"] == "@ai-sdk/openai-compatible"
    assert provider["options"]["baseURL"] == BASE_URL
    assert provider["options"]["headerTimeout"] > HOLD_SECONDS * 1000
    assert provider["options"]["timeout"] is False
    assert list(provider["models"]) == [MODEL]
    assert written["model"] == written["small_model"] == f"rolldock/{MODEL}"
    assert written["enabled_providers"] == ["rolldock"]
    assert written["agent"]["title"]["disable"] is True
    assert (written["autoupdate"], written["share"]) == (False, "disabled")
    assert written["permission"] == {"*": "allow"}


def test_the_key_is_in_no_file() -> None:
    """It comes in a variable, and the configuration names the file it is put into."""
    described = launch()
    assert described.api_key_variables == ("ROLLDOCK_API_KEY",)
    key = json.loads(described.files[CONFIG_FILE])["provider"]["rolldock"]["options"]["apiKey"]
    assert key == "{file:/tmp/rolldock-opencode/key}"
    assert "unset ROLLDOCK_API_KEY" in described.command


def test_options_are_written() -> None:
    """Each where OpenCode looks for it; a prompt by reference, so that it stays as it is."""
    options: dict[str, Any] = {
        "system_prompt": "Say {env:HOME}.",
        "disabled_tools": ["webfetch", "task"],
        "max_turns": 7,
        "context_tokens": 32768,
        "output_tokens": 4096,
        "extra_config": {"agent": {"build": {"temperature": 0.5}}, "snapshot": True},
    }
    written = config(**options)
    build = written["agent"]["build"]
    assert build["steps"] == 7
    assert build["temperature"] == 0.5
    assert written["agent"]["title"]["disable"] is True
    assert written["permission"] == {"*": "allow", "webfetch": "deny", "task": "deny"}
    model = written["provider"]["rolldock"]["models"][MODEL]
    assert model["limit"] == {"context": 32768, "output": 4096}
    assert written["snapshot"] is True
    path = build["prompt"].removeprefix("{file:").removesuffix("}")
    assert launch(**options).files[path] == "Say {env:HOME}."


@pytest.mark.parametrize("script", [launch().command, OPENCODE.install])
def test_its_scripts_are_valid_bash(script: str) -> None:
    """With whatever is in a model's or a file's name."""
    subprocess.run(["bash", "-n", "-c", script], check=True)
