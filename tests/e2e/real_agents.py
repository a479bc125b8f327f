"""The agents that come from npm and PyPI, and what all of them are put through.

What each is asked for in its own wire format is read by the tests of its kind.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from tests.e2e.runs import HELLO

NPM_AGENTS: Final = ("claude-code", "codex")
PYTHON_AGENTS: Final = ("mini-swe-agent", "terminus-2")

HASTY: Final[Mapping[str, Mapping[str, JsonValue]]] = {
    # It would try for two minutes what can never go well.
    "codex": {"extra_config": {"model_providers": {"rolldock": {"stream_max_retries": 2}}}}
}
"""Options with which an agent gives a model server up soon."""

TOKEN_START: Final = "eyJ"
"""How every session's token begins."""

MANY_WORDS: Final = "לא " * (200 * 1024 // 5)
"""200 KB in UTF-8."""
ODD_INSTRUCTION: Final = (
    'Say where you are. "Don\'t" `echo $HOME` \\\n\t你好 Ünïcödé 🐢 <b>&amp;</b> {{x}} {y}\n'
    f"{MANY_WORDS}\nThe end."
)
"""Quotes, other scripts, and what a template would replace."""

_NOBODY: Final = """
schema_version = "1.4"

[agent]
timeout_sec = 600
user = "nobody"

[environment]
network_mode = "no-network"

[environment.healthcheck]
command = "install -d -m 777 /app"
"""


def write_nobody_task(directory: Path) -> None:
    """Write hello-world as a task with the odd instruction, for a user without a home."""
    shutil.copytree(HELLO, directory)
    (directory / "task.toml").write_text(_NOBODY)
    (directory / "instruction.md").write_text(ODD_INSTRUCTION, encoding="utf-8")
