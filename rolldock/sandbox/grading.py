"""Stage 6: the task's tests, run on what the agent left, exactly as Harbor's verifier does.

A try begins by ending whatever an earlier try left running and by emptying its directories, so
grading may be repeated as long as the sandbox lives.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Final

from rolldock.errors import StageError
from rolldock.harbor.bundle import subtree
from rolldock.harbor.reward import RewardInvalid, parse_reward
from rolldock.harbor.task import Task
from rolldock.models.base import Contract
from rolldock.models.failure import Cause, Failure
from rolldock.models.result import Stage
from rolldock.sandbox import jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.ending import agent_logs
from rolldock.sandbox.evidence import collect
from rolldock.sandbox.launch import launch_job

_COMMAND_SECONDS: Final = 60
_FIRST_POLL_SECONDS: Final = 0.05
_LAST_POLL_SECONDS: Final = 5.0
_EMPTY: Final = (
    "rm -rf /tests /logs/verifier && mkdir -p /logs/artifacts && mkdir -m 777 /logs/verifier"
)
_LINGER_HUNDREDTHS: Final = 50
"""Half a second: most tests are shorter, and a poll is a round trip."""
_VERIFIER_LOGS: Final = "verifier"
_ARTIFACTS: Final = "artifacts"


class Grade(Contract):
    """Rewards, or the failure instead of them; and the verifier's files by name."""

    rewards: dict[str, float]
    failure: Failure | None
    files: dict[str, bytes]


async def grade(
    sandboxes: Sandboxes,
    watch: jobs.JobWatch,
    sandbox_id: str,
    task: Task,
    *,
    job: str,
    agent_job: str,
    workdir: str,
    env: Mapping[str, str],
    seconds: float,
) -> Grade:
    """Run `tests/test.sh`, read the reward that it wrote, and bring all logs of the attempt.

    Raises:
        StageError: the tests could not be run; transient while the sandbox lives.
    """
    in_time = await _run_tests(
        sandboxes, watch, sandbox_id, task, job=job, workdir=workdir, env=env, seconds=seconds
    )
    sources = {
        **agent_logs(agent_job),
        _VERIFIER_LOGS: "/logs/verifier",
        _ARTIFACTS: "/logs/artifacts",
    }
    for artifact in task.config.artifacts:
        path = str(PurePosixPath(workdir, artifact.source))
        sources[f"{_ARTIFACTS}/{artifact.destination or path.lstrip('/')}"] = path
    files = await collect(sandboxes, sandbox_id, sources, Cause.VERIFIER_FAILED)
    if not in_time:
        late = f"tests/test.sh was still running after {seconds:g} s"
        return Grade(rewards={}, failure=_failure(Cause.VERIFIER_TIMEOUT, late), files=files)
    try:
        rewards = parse_reward(
            files.get(f"{_VERIFIER_LOGS}/reward.json"), files.get(f"{_VERIFIER_LOGS}/reward.txt")
        )
    except RewardInvalid as error:
        failure = _failure(Cause.REWARD_INVALID, str(error))
        return Grade(rewards={}, failure=failure, files=files)
    return Grade(rewards=rewards, failure=None, files=files)


async def _run_tests(
    sandboxes: Sandboxes,
    watch: jobs.JobWatch,
    sandbox_id: str,
    task: Task,
    *,
    job: str,
    workdir: str,
    env: Mapping[str, str],
    seconds: float,
) -> bool:
    """Whether test.sh ended in time; its exit code means nothing, as under Harbor."""
    user = task.config.verifier.user
    tests = await asyncio.to_thread(subtree, task.bundle, "tests")
    if tests is None:
        raise StageError(Cause.TASK_INVALID, f"task {task.name} has no tests")
    await launch_job(
        sandboxes,
        sandbox_id,
        job,
        "/tests/test.sh > /logs/verifier/test-stdout.txt 2>&1",
        env=env,
        cwd=workdir,
        user=None if user is None else str(user),
        otherwise=Cause.VERIFIER_FAILED,
        archives={"/tests": tests},
        before=f"{jobs.clear_command(job)}; {_EMPTY}",
        after=jobs.linger_command(job, _LINGER_HUNDREDTHS),
    )
    deadline = datetime.now(UTC) + timedelta(seconds=seconds)
    delay = _FIRST_POLL_SECONDS
    while await watch.exit_code(sandbox_id, job) is None:
        if datetime.now(UTC) >= deadline:
            await sandboxes.run(
                sandbox_id,
                jobs.kill_command(job, 1),
                timeout_seconds=_COMMAND_SECONDS,
                otherwise=Cause.VERIFIER_FAILED,
            )
            return False
        await asyncio.sleep(delay)
        delay = min(delay * 1.5, _LAST_POLL_SECONDS)
    return True


def _failure(cause: Cause, message: str) -> Failure:
    return Failure(stage=Stage.GRADE, cause=cause, message=message, retryable=False)
