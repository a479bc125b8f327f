# pyright: basic, reportMissingImports=false
# What it imports is in the agent's own directory, for a later Python than this project's.
"""Runs Harbor's Terminus 2 where it is: the machine that its terminal is on is this one.

Harbor runs it elsewhere and reaches the machine through an `environment`; this is the least of one.
Its commands say `tmux`: they find a script that starts the agent's own, at a socket of the run, so
that neither the image's tmux nor any of our variables is seen in the terminal.

The terminal outlives the agent, as under Harbor, and with it the services that were started there.

Exit codes: 0 the model has confirmed that the task is done; 1 it has not, or could not be had.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shlex
import sys
from pathlib import Path

SETTINGS = {
    # It fetches a list of prices while it is imported, and waits where it cannot.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # Otherwise a file `.env` of the task becomes part of the environment.
    "LITELLM_MODE": "PRODUCTION",
}
"""Read while it is imported, and nothing that its terminal should see."""

TERMINFO = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")
TIMED_OUT = 124
"""The exit code of a command that was killed, as that of `timeout`."""


class ThisMachine:
    """What Terminus needs of Harbor's environments: commands, run here by this user."""

    session_id = "rolldock"
    default_user = None

    def __init__(self, path: str) -> None:
        self._environment = {**os.environ, "PATH": path}

    async def exec(self, command, cwd=None, env=None, timeout_sec=None, user=None):
        """Run a command with bash; whoever it should be run as, there is one user here."""
        from harbor.environments.base import ExecResult

        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command,
            cwd=cwd,
            env={**self._environment, **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await asyncio.wait_for(process.communicate(), timeout_sec)
        except TimeoutError:
            process.kill()
            await process.wait()
            return ExecResult(stderr=f"killed after {timeout_sec} s", return_code=TIMED_OUT)
        return ExecResult(
            stdout=out.decode(errors="replace"),
            stderr=errors.decode(errors="replace"),
            return_code=process.returncode or 0,
        )


def write_tmux(directory: Path, home: Path) -> str:
    """Make a `tmux` that starts the agent's own as if it were the image's; the PATH to find it."""
    path = os.environ.get("PATH", os.defpath)
    lines = ["#!/bin/sh", f"export PATH={shlex.quote(path)}"]
    if not any(Path(place, "s", "screen").exists() for place in TERMINFO):
        lines.append(f"export TERMINFO_DIRS={home / 'tmux' / 'terminfo'}:")
    socket = directory / "tmux.sock"
    lines.append(f'exec {home / "tmux" / "bin" / "tmux"} -f /dev/null -S {socket} "$@"')
    program = directory / "bin" / "tmux"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o700)
    return f"{program.parent}:{path}"


def read_key(path: Path) -> str:
    """The key, which nobody needs to read again."""
    key = path.read_text("utf-8")
    path.unlink()
    return key


async def run(options: argparse.Namespace, key: str) -> bool:
    """Let the agent work; whether it has confirmed that its task is done."""
    before = dict(os.environ)
    os.environ.update(SETTINGS)
    import litellm
    from harbor.agents.terminus_2.terminus_2 import Terminus2
    from harbor.models.agent.context import AgentContext

    # Not among its arguments, which the trajectory holds.
    litellm.api_key = key
    arguments = json.loads(options.config.read_text("utf-8"))
    agent = Terminus2(logs_dir=options.logs, **arguments)
    os.environ.clear()
    os.environ.update(before)
    machine = ThisMachine(write_tmux(options.run, options.home))
    await agent.setup(machine)
    await agent.run(options.instruction.read_text("utf-8"), machine, AgentContext())
    # It returns in the same way when the terminal has ended and when its turns are used up.
    return agent._pending_completion


def main() -> int:
    """Read the command line and run the agent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--instruction", type=Path, required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--logs", type=Path, required=True)
    options = parser.parse_args()
    sys.path.insert(0, str(options.home / "packages"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if asyncio.run(run(options, read_key(options.key_file))):
        return 0
    sys.stderr.write("terminus-2 ended before the model had confirmed that the task is done\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
