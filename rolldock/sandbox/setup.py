"""Stage 2: what a sandbox must hold before its agent starts. Tests and solution come later.

Safe to run twice: every file is overwritten with the same content, an agent that is there already
is left alone. How an agent comes into a sandbox that lacks it is in `agent_archive.py`.
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
from rolldock.models.agent_archive import machine_name
from rolldock.models.failure import Cause
from rolldock.sandbox import archive, jobs
from rolldock.sandbox.agent_archive import AgentArchives, mend
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
_READ_ONLY: Final = "read-only"
_MACHINE: Final = "uname -sm || echo unknown unknown"
_HEALTH_SLACK_SECONDS: Final = 10


def agent_home(agent: Agent) -> str:
    """Where a sandbox has an agent: in the agents' cache, or where it was uploaded to."""
    root = AGENTS_ROOT if agent.install is not None else BUNDLED_ROOT
    return f"{root}/{agent.name}/{agent.version}"


async def set_up(
    sandboxes: Sandboxes,
    sandbox_id: str,
    task: Task,
    agent: Agent,
    install_seconds: float,
    *,
    attempt: str,
    archives: AgentArchives,
) -> str:
    """Fill a fresh sandbox and return its work directory.

    Once the agent was launched nothing is filled any more, since that would undo its work: not by a
    try that was stalled meanwhile, nor by the run that goes on after a reset.

    Raises:
        StageError: `setup_failed` with the last output of what failed.
    """
    if task.config.environment.healthcheck is not None:
        await _await_health(sandboxes, sandbox_id, task.config.environment.healthcheck)
    unpack = await upload_archives(
        sandboxes, sandbox_id, await _trees(task, agent), Cause.SETUP_FAILED
    )
    launched = jobs.paths(jobs.job_id(attempt))[0]
    fill = f"test -e {launched} || {{ {_MAKE_DIRECTORIES} && {unpack}; }}"
    command = f"{_choose_workdir(task)}; {{ {fill}; }} && {_report(agent)}"
    reported = await run_checked(
        sandboxes, sandbox_id, command, "filling the sandbox", Cause.SETUP_FAILED, cwd=None
    )
    workdir, _, told = reported.rstrip("\n").rpartition("\n")
    state, system, processor = told.split()
    if state == _READ_ONLY:
        raise _not_mounted(agent)
    if state != _INSTALLED:
        await archives.bring(
            sandboxes,
            sandbox_id,
            agent,
            agent_home(agent),
            machine=machine_name(system, processor),
            seconds=install_seconds,
        )
    return workdir


async def _trees(task: Task, agent: Agent) -> dict[str, bytes]:
    """Directory, as bash reads it -> tar of what belongs there."""
    files = {INSTRUCTION_FILE: (task.instruction.encode(), archive.READABLE)}
    for path, content in agent.bundled.items():
        files[f"{agent_home(agent)}/{path}"] = (content.encode(), archive.EXECUTABLE)
    trees = {"/": await asyncio.to_thread(archive.pack, files)}
    if task.uploads_environment:
        trees[_WORKDIR] = await _folder(task, "environment")
    if agent.needs_solution:
        trees["/solution"] = await _folder(task, "solution", executable="solve.sh")
    return trees


def _choose_workdir(task: Task) -> str:
    """A command that names the work directory."""
    wanted = task.config.environment.workdir
    return (
        f"w={shlex.quote(wanted)}" if wanted else f'w=$PWD; test "$w" = / && w={_DEFAULT_WORKDIR}'
    )


def _report(agent: Agent) -> str:
    """A command that prints the work directory, then in one line whether the agent is there, or
    else could be brought there, and what the machine is."""
    home = agent_home(agent)
    whole = "/" if agent.install is None else f"{home}/{agent.check or '.'}"
    parent = shlex.quote(home.rpartition("/")[0])
    state = (
        f"if test -e {shlex.quote(whole)}; then s={_INSTALLED}; "
        f"elif (umask 022; mkdir -p {parent}) 2> /dev/null && test -w {parent}; then s=absent; "
        f"else s={_READ_ONLY}; fi"
    )
    return f'(cd {_WORKDIR} && pwd) && {{ {state}; echo "$s $({_MACHINE})"; }}'


def _not_mounted(agent: Agent) -> StageError:
    return StageError(
        Cause.SETUP_FAILED,
        f"{agent.name} {agent.version} is not among the agents that the sandbox sees, and nothing "
        f"can be put there: `{mend('install', agent)}` on the sandboxes' machine, or an image that "
        f"holds it (`{mend('dockerfile', agent)}`)",
    )


async def _folder(task: Task, name: str, *, executable: str | None = None) -> bytes:
    """A folder of the task as a tar.

    Raises:
        StageError: `task_invalid`, it has none.
    """
    packed = await asyncio.to_thread(subtree, task.bundle, name, executable=executable)
    if packed is None:
        raise StageError(Cause.TASK_INVALID, f"task {task.name} has no folder {name}")
    return packed


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
            cwd=None,
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
