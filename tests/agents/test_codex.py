"""What Codex is given. That it works with it is shown end to end, with the real one."""

import subprocess
import tomllib
from typing import Any

import pytest

from rolldock.agents.agent import Launch
from rolldock.agents.codex import CODEX, CONFIG_FILE, KEY_PLACE, PROMPT_FILE, toml
from tests.agents.launches import BASE_URL, HOLD_SECONDS, launched


def launch(**options: Any) -> Launch:
    """Its launch with some options."""
    return launched(CODEX, options, model="gpt-5")


def config(**options: Any) -> dict[str, Any]:
    """The configuration that a launch writes."""
    return tomllib.loads(launch(**options).files[CONFIG_FILE])


def test_the_configuration_leads_to_the_gateway_alone() -> None:
    """One provider without websockets, timeouts beyond the hold, nothing that calls home."""
    written = config()
    provider = written["model_providers"][written["model_provider"]]
    assert provider["base_url"] == BASE_URL
    assert provider["wire_api"] == "responses"
    assert provider["supports_websockets"] is False
    assert provider["stream_idle_timeout_ms"] > HOLD_SECONDS * 1000
    assert written["web_search"] == "disabled"
    assert written["features"] == {"plugins": False}
    assert written["analytics"] == {"enabled": False}
    assert written["check_for_update_on_startup"] is False


def test_the_model_is_one_that_codex_does_not_know() -> None:
    """Whatever the endpoint's name: for its own models it has tools that cannot be translated."""
    assert config()["model"] == "rolldock"
    assert config(extra_config={"model": "gpt-5"})["model"] == "gpt-5"


def test_pauses_between_tries_outlast_a_restart_of_the_gateway() -> None:
    """Codex waits 0.2 s, 0.4 s and so on between tries of a stream, and not in between."""
    provider = config()["model_providers"]["rolldock"]
    assert provider["request_max_retries"] == 0
    assert sum(0.2 * 2**n for n in range(provider["stream_max_retries"])) > 70


def test_the_key_is_in_no_file() -> None:
    """It comes in a variable; the script puts it where the configuration has its place."""
    described = launch()
    assert described.api_key_variables == ("ROLLDOCK_API_KEY",)
    assert described.env == {}
    assert described.files[CONFIG_FILE].count(KEY_PLACE) == 1
    assert KEY_PLACE in described.command
    assert "unset ROLLDOCK_API_KEY" in described.command


def test_options_are_written() -> None:
    """Each where Codex looks for it; a prompt in a file, whatever it holds."""
    options: dict[str, Any] = {
        "system_prompt": "Say 'hi'.\nThen $HOME.",
        "disabled_tools": ["multi_agent", "view_image"],
        "context_tokens": 32768,
        "extra_config": {
            "features": {"goals": False, "plugins": True},
            "model_providers": {"rolldock": {"stream_max_retries": 3}},
        },
    }
    written = config(**options)
    assert launch(**options).files[PROMPT_FILE] == "Say 'hi'.\nThen $HOME."
    assert written["model_instructions_file"] == PROMPT_FILE
    assert written["model_context_window"] == 32768
    assert written["features"] == {
        "plugins": True,
        "multi_agent": False,
        "view_image": False,
        "goals": False,
    }
    provider = written["model_providers"]["rolldock"]
    assert provider["stream_max_retries"] == 3
    assert provider["wire_api"] == "responses"


@pytest.mark.parametrize("script", [launch().command, CODEX.install])
def test_its_scripts_are_valid_bash(script: str) -> None:
    """With whatever is in a file's name."""
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_what_is_written_is_read_back() -> None:
    """Every kind of value that JSON has, with keys and texts of any characters."""
    value: dict[str, Any] = {
        "a key.with [all]": {"t": True, "n": -3, "f": 1.5, "nested": [[1], [{"x": "y"}], []]},
        "texts": ['"quoted"\\', "a\nb\tc\x7f\x00", "größer 你好 🐢", ""],
        "empty": {},
    }
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


def test_null_is_refused() -> None:
    """TOML has none."""
    with pytest.raises(ValueError, match="TOML has no null"):
        toml({"a": [None]})
