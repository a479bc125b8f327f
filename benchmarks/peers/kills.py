"""What both kill benchmarks are run with: the same tasks, options and scripts. Kills nothing."""

import argparse
from pathlib import Path
from typing import Final

from counted_model import slowed

from rolldock.scripted.script import Script, load_scripts

ROOT: Final = Path(__file__).parents[2]
TASKS: Final = ("hello-world", "log-analysis", "sales-sqlite", "fix-python-bug")
"""All but start-service: it needs a port of its own, which the peer's runtime cannot give."""


def options(description: str | None) -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rollouts", type=int, default=4, help=f"of each of {len(TASKS)} tasks")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.25, 0.5, 0.75])
    parser.add_argument("--reply-seconds", type=float, default=1.0, help="the model's, per turn")
    return parser


def slowed_scripts(reply_seconds: float, command_seconds: float = 0) -> dict[str, Script]:
    """The conversation of each task, with a delay before each reply and each command."""
    written = load_scripts(ROOT / "examples" / "scripts")
    return {
        task: slowed(written[task], reply_seconds=reply_seconds, command_seconds=command_seconds)
        for task in TASKS
    }
