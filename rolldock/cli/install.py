"""Installing an agent into this machine's cache, which local sandboxes see read-only.

An install appears whole or not at all: it is made in a directory beside its place and renamed.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rolldock.agents.agent import Agent
from rolldock.errors import UsageError

_OUTPUT_LINES: Final = 12
"""Of a failed install, in its error."""
_TIMEOUT_SECONDS: Final = 1800
_PLACES: Final = {
    "npm": "install Node.js 20 or later with npm (Debian: apt-get install nodejs npm)",
    "node": "install Node.js 20 or later (Debian: apt-get install nodejs)",
    "tmux": "install tmux (Debian: apt-get install tmux)",
}


def is_installed(agent: Agent, cache: Path) -> bool:
    """Whether the cache has an agent's pinned version whole; True where nothing is to install."""
    home = cache / agent.name / agent.version
    return agent.install is None or (home / (agent.check or ".")).exists()


def install_agent(agent: Agent, cache: Path) -> Path:
    """Install an agent's pinned version, unless it is there already; its directory.

    Two callers at once, in whatever process: one installs, the other waits for it.

    Raises:
        UsageError: a program is missing, or the install script failed.
    """
    home = cache / agent.name / agent.version
    if is_installed(agent, cache):
        return home
    _require_programs(agent)
    home.parent.mkdir(parents=True, exist_ok=True)
    with _lock(home.parent / ".lock"):
        if agent.install is not None and not is_installed(agent, cache):
            _install(agent, agent.install, home, cache)
    return home


def _install(agent: Agent, script: str, home: Path, cache: Path) -> None:
    prefix = f".{agent.version}-"
    for left_over in home.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_over)
    made = Path(tempfile.mkdtemp(dir=home.parent, prefix=prefix))
    try:
        # Readable by whatever user an agent runs as.
        made.chmod(0o755)
        _run_script(agent, script, made, cache)
        if home.exists():
            shutil.rmtree(home)
        made.rename(home)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _run_script(agent: Agent, script: str, made: Path, cache: Path) -> None:
    environment = {
        **os.environ,
        "AGENT_HOME": str(made),
        "AGENT_VERSION": agent.version,
        "npm_config_cache": str(cache / ".npm"),
        "npm_config_update_notifier": "false",
    }
    what = f"installing {agent.name} {agent.version}"
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=made,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{what} took over {_TIMEOUT_SECONDS} s: is the npm registry reachable?"
        ) from None
    lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    if done.returncode != 0:
        said = " | ".join(lines[-_OUTPUT_LINES:]) or "no output"
        raise UsageError(f"{what} failed with exit code {done.returncode}: {said}")
    if agent.check is not None and not (made / agent.check).exists():
        raise UsageError(f"{what} left no {agent.check}: the package has changed its layout")


def _require_programs(agent: Agent) -> None:
    for program in agent.requires:
        if shutil.which(program) is None:
            mend = _PLACES.get(program, f"install {program}")
            raise UsageError(f"agent {agent.name} needs {program}, which is not here: {mend}")


@contextmanager
def _lock(path: Path) -> Generator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
