"""Stage 2: what a sandbox must hold before its agent starts. Tests and solution come later.

Safe to run twice: every file is overwritten with the same content, an agent that is there already
is left alone.
"""

import asyncio
import math
import shlex
import time
from typing import Final

from rolldock.agents.agent import AGENT_LOGS, AGENTS_ROOT, BUNDLED_ROOT, Agent
from rolldock.errors import StageError
from rolldock.harbor.bundle import subtree
from rolldock.harbor.config import Healthcheck
from rolldock.harbor.task import Task
from rolldock.models.failure import Cause
from rolldock.sandbox import archive, jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.transfer import last, run_checked, upload_archives

INSTRUCTION_FILE: Final = "/opt/rolldock/task/instruction.md"
_DEFAULT_WORKDIR: Final = "/app"
"""For an image whose own work directory is `/`."""
_WORKDIR: Final = '"$w"'
"""The work directory in a command that has chosen it."""
_LOGS: Final = f"{AGENT_LOGS} /logs/verifier /logs/artifacts"
_MAKE_DIRECTORIES: Final = f"mkdir -p {_WORKDIR} {_LOGS} && chmod 777 {_LOGS}"
"""The work directory, and those that Harbor promises; world-writable as Harbor's are, since agent
and verifier may be different users."""
_INSTALLED: Final = "installed"
_HEALTH_SLACK_SECONDS: Final = 10


def agent_home(agent: Agent, version: str) -> str:
    """Where a sandbox has an agent: in the agents' cache, or where it was uploaded to."""
    root = AGENTS_ROOT if agent.install is not None else BUNDLED_ROOT
    return f"{root}/{agent.name}/{version}"


async def set_up(
    sandboxes: Sandboxes,
    sandbox_id: str,
    task: Task,
    agent: Agent,
    version: str,
    install_seconds: float,
    *,
    attempt: str,
) -> str:
    """Fill a fresh sandbox and return its work directory.

    Once the agent was launched nothing is filled any more, since that would undo its work: not by a
    try that was stalled meanwhile, nor by the run that goes on after a reset.

    Raises:
        StageError: `setup_failed` with the last output of what failed.
    """
    if task.config.environment.healthcheck is not None:
        await _await_health(sandboxes, sandbox_id, task.config.environment.healthcheck)
    files = {INSTRUCTION_FILE: (task.instruction.encode(), archive.READABLE)}
    for path, content in agent.bundled.items():
        files[f"{agent_home(agent, version)}/{path}"] = (content.encode(), archive.EXECUTABLE)
    archives = {"/": await asyncio.to_thread(archive.pack, files)}
    if task.uploads_environment:
        archives[_WORKDIR] = await _folder(task, "environment")
    if agent.needs_solution:
        archives["/solution"] = await _folder(task, "solution")
    unpack = await upload_archives(sandboxes, sandbox_id, archives, Cause.SETUP_FAILED)
    launched = jobs.paths(jobs.job_id(attempt))[0]
    fill = f"test -e {launched} || {{ {_MAKE_DIRECTORIES} && {unpack}; }}"
    command = f"{_choose_workdir(task)}; {{ {fill}; }} && {_report(agent, version)}"
    reported = await run_checked(
        sandboxes, sandbox_id, command, "filling the sandbox", Cause.SETUP_FAILED
    )
    workdir, _, installed = reported.rstrip("\n").rpartition("\n")
    if installed != _INSTALLED:
        await _install(sandboxes, sandbox_id, agent, version, install_seconds)
    return workdir


def _choose_workdir(task: Task) -> str:
    """A command that names the work directory."""
    wanted = task.config.environment.workdir
    return (
        f"w={shlex.quote(wanted)}" if wanted else f'w=$PWD; test "$w" = / && w={_DEFAULT_WORKDIR}'
    )


def _report(agent: Agent, version: str) -> str:
    """A command that prints the work directory, and whether the agent is there."""
    whole = "/" if agent.install is None else f"{agent_home(agent, version)}/{agent.check or '.'}"
    return f"(cd {_WORKDIR} && pwd) && {{ test -e {whole} && echo {_INSTALLED} || echo absent; }}"


async def _folder(task: Task, name: str) -> bytes:
    """A folder of the task as a tar.

    Raises:
        StageError: `task_invalid`, it has none.
    """
    packed = await asyncio.to_thread(subtree, task.bundle, name)
    if packed is None:
        raise StageError(Cause.TASK_INVALID, f"task {task.name} has no folder {name}")
    return packed


async def _install(
    sandboxes: Sandboxes, sandbox_id: str, agent: Agent, version: str, install_seconds: float
) -> None:
    home = agent_home(agent, version)
    script = f"mkdir -p {home} && cd {home} || exit 1\n{agent.install}"
    done = await sandboxes.run(
        sandbox_id,
        script,
        timeout_seconds=int(install_seconds),
        otherwise=Cause.SETUP_FAILED,
        env={"AGENT_HOME": home, "AGENT_VERSION": version},
    )
    if done.exit_code != 0:
        raise StageError(
            Cause.SETUP_FAILED,
            f"{agent.name} {version} is not in the sandbox and could not be installed there "
            f"(on one machine: `rolldock agents install {agent.name}`): "
            f"{last(done.stderr or done.stdout)}",
        )


async def _await_health(sandboxes: Sandboxes, sandbox_id: str, check: Healthcheck) -> None:
    """Harbor's health check: failures within the start period do not count."""
    started = time.monotonic()
    failures = 0
    while True:
        done = await sandboxes.run(
            sandbox_id,
            # A check that hangs has failed; the SDK's own timeout is for a sandbox that hangs.
            f"timeout -k 1 {check.timeout_sec:g} bash -c {shlex.quote(check.command)}",
            timeout_seconds=math.ceil(check.timeout_sec) + _HEALTH_SLACK_SECONDS,
            otherwise=Cause.SETUP_FAILED,
        )
        if done.exit_code == 0:
            return
        starting = time.monotonic() - started < check.start_period_sec
        failures = 0 if starting else failures + 1
        if failures >= check.retries:
            said = last(done.stderr or done.stdout)
            raise StageError(
                Cause.SETUP_FAILED, f"the task's health check failed {failures} times: {said}"
            )
        await asyncio.sleep(check.start_interval_sec if starting else check.interval_sec)
