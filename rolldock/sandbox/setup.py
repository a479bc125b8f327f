"""Stage 2: what a sandbox must hold before its agent starts. Tests and solution come later.

Safe to run twice: every file is overwritten with the same content, an agent that is there already
is left alone.
"""

import shlex
from typing import Final

import anyio

from rolldock.agents.agent import AGENT_LOGS, AGENTS_ROOT, BUNDLED_ROOT, Agent
from rolldock.errors import StageError
from rolldock.harbor.bundle import subtree
from rolldock.harbor.config import Healthcheck
from rolldock.harbor.task import Task
from rolldock.models.failure import Cause
from rolldock.sandbox import archive
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.transfer import last, unpack_into

INSTRUCTION_FILE: Final = "/opt/rolldock/task/instruction.md"
_DEFAULT_WORKDIR: Final = "/app"
"""For an image whose own work directory is `/`."""
_COMMAND_SECONDS: Final = 60


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
) -> str:
    """Fill a fresh sandbox and return its work directory.

    Raises:
        StageError: `setup_failed` with the last output of what failed.
    """
    if task.config.environment.healthcheck is not None:
        await _await_health(sandboxes, sandbox_id, task.config.environment.healthcheck)
    workdir = await _make_directories(sandboxes, sandbox_id, task)
    await _upload_files(sandboxes, sandbox_id, task, agent, version, workdir)
    if agent.install is not None:
        await _install(sandboxes, sandbox_id, agent, version, install_seconds)
    return workdir


async def _make_directories(sandboxes: Sandboxes, sandbox_id: str, task: Task) -> str:
    """Find the work directory and make it, and the directories that Harbor promises."""
    wanted = task.config.environment.workdir
    choose = (
        f"w={shlex.quote(wanted)}" if wanted else f'w=$PWD; test "$w" = / && w={_DEFAULT_WORKDIR}'
    )
    logs = f"{AGENT_LOGS} /logs/verifier /logs/artifacts"
    # World-writable as Harbor's are: agent and verifier may be different users.
    made = await _checked(
        sandboxes,
        sandbox_id,
        f'{choose}; mkdir -p "$w" {logs} && chmod 777 {logs} && cd "$w" && pwd',
        "making the work directory",
    )
    return made.strip()


async def _upload_files(
    sandboxes: Sandboxes,
    sandbox_id: str,
    task: Task,
    agent: Agent,
    version: str,
    workdir: str,
) -> None:
    home = agent_home(agent, version)
    files = {INSTRUCTION_FILE: (task.instruction.encode(), archive.READABLE)}
    for path, content in agent.bundled.items():
        files[f"{home}/{path}"] = (content.encode(), archive.EXECUTABLE)
    packed = await anyio.to_thread.run_sync(archive.pack, files)
    await unpack_into(sandboxes, sandbox_id, {"/": packed}, Cause.SETUP_FAILED)
    trees: dict[str, bytes] = {}
    if task.uploads_environment:
        trees[workdir] = subtree(task.bundle, "environment") or b""
    if agent.needs_solution and (solution := subtree(task.bundle, "solution")) is not None:
        trees["/solution"] = solution
    if trees:
        await unpack_into(sandboxes, sandbox_id, trees, Cause.SETUP_FAILED)


async def _install(
    sandboxes: Sandboxes, sandbox_id: str, agent: Agent, version: str, install_seconds: float
) -> None:
    home = agent_home(agent, version)
    present = f"test -e {home}/{agent.check or '.'}"
    script = f"{present} && exit 0; mkdir -p {home} && cd {home} || exit 1\n{agent.install}"
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
    started = anyio.current_time()
    failures = 0
    while True:
        done = await sandboxes.run(
            sandbox_id,
            check.command,
            timeout_seconds=max(1, int(check.timeout_sec)),
            otherwise=Cause.SETUP_FAILED,
        )
        if done.exit_code == 0:
            return
        starting = anyio.current_time() - started < check.start_period_sec
        failures = 0 if starting else failures + 1
        if failures >= check.retries:
            said = last(done.stderr or done.stdout)
            raise StageError(
                Cause.SETUP_FAILED, f"the task's health check failed {failures} times: {said}"
            )
        await anyio.sleep(check.start_interval_sec if starting else check.interval_sec)


async def _checked(sandboxes: Sandboxes, sandbox_id: str, command: str, doing: str) -> str:
    done = await sandboxes.run(
        sandbox_id, command, timeout_seconds=_COMMAND_SECONDS, otherwise=Cause.SETUP_FAILED
    )
    if done.exit_code != 0:
        raise StageError(Cause.SETUP_FAILED, f"{doing} failed: {last(done.stderr)}")
    return done.stdout
