# pyright: basic, reportMissingImports=false
# What it imports is in the agent's own directory, for a later Python than this project's.
"""Runs mini-swe-agent as its command `mini` does with `--yolo --exit-immediately`, from files.

Why not the command itself: a task longer than 128 KiB fits no argument; a configuration named
`mini.yaml` in the work directory would be taken for its own; the key would be in the trajectory or
in the environment of the commands that the model runs, and so would all of its settings.

Exit codes: 0 the model has submitted; 1 it has not, or could not be had.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

SETTINGS = {
    # It fetches a list of prices while it is imported, and waits where it cannot.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # Otherwise a file `.env` of the task becomes part of the environment.
    "LITELLM_MODE": "PRODUCTION",
    "MSWEA_SILENT_STARTUP": "true",
}
"""Read while it is imported, and nothing that its commands should see."""


def read_key(path: Path) -> str:
    """The key, which nobody needs to read again."""
    key = path.read_text("utf-8")
    path.unlink()
    return key


def run(config_file: Path, instruction: Path, key: str, settings: dict[str, str]) -> str:
    """Let the agent work; how it says that it ended."""
    before = dict(os.environ)
    os.environ.update(settings)
    import litellm
    from minisweagent.agents import get_agent
    from minisweagent.config import builtin_config_dir, get_config_from_spec
    from minisweagent.environments import get_environment
    from minisweagent.models import get_model
    from minisweagent.utils.serialize import recursive_merge

    ours = json.loads(config_file.read_text("utf-8"))
    base = get_config_from_spec(builtin_config_dir / ours.pop("base"))
    config = recursive_merge(base, ours)
    # Not in the configuration, which the trajectory holds.
    litellm.api_key = key
    model = get_model(config=config["model"])
    environment = get_environment(config["environment"], default_type="local")
    agent = get_agent(model, environment, config["agent"], default_type="interactive")
    os.environ.clear()
    os.environ.update(before)
    ended = agent.run(instruction.read_text("utf-8"))
    return str(ended.get("exit_status"))


def main() -> int:
    """Read the command line and run the agent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--instruction", type=Path, required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--state", required=True, help="where it keeps its own configuration")
    options = parser.parse_args()
    sys.path.insert(0, options.packages)
    key = read_key(options.key_file)
    settings = {**SETTINGS, "MSWEA_GLOBAL_CONFIG_DIR": options.state}
    status = run(options.config, options.instruction, key, settings)
    if status != "Submitted":
        sys.stderr.write(f"mini-swe-agent ended without submitting: {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
