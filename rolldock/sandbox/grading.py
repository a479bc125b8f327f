"""Stage 6: the task's tests, run on what the agent left, exactly as Harbor's verifier does.

A launch begins by ending whatever an earlier one left running and by emptying its directories, so
grading may be repeated as long as the sandbox lives. Tests that run are nobody's: another try may
go on waiting for them, since the sandbox itself knows for which run they were launched, whatever
became of the worker that did. A try that was stalled and overtaken can end or launch nothing any
more.
"""

import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from rolldock.errors import StageError, TransientStageError
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
from rolldock.sandbox.polling import poll
from rolldock.sandbox.transfer import run_checked
from rolldock.sandbox.watch import JobWatch

_GRACE_SECONDS: Final = 1
"""Between TERM and KILL."""
_EMPTY: Final = (
    "rm -rf /tests /logs/verifier && mkdir -p /logs/artifacts && mkdir -m 777 /logs/verifier"
)
_LINGER_HUNDREDTHS: Final = 50
"""Half a second: most tests are shorter, and a poll is a round trip."""
_TEST_SCRIPT: Final = "test.sh"
_OUTPUT: Final = "/logs/verifier/test-stdout.txt"
_VERIFIER_LOGS: Final = "verifier"
_ARTIFACTS: Final = "artifacts"
_FIRST: Final = ("/logs/verifier/reward.json", "/logs/verifier/reward.txt", "/logs/verifier")
"""No number of artifacts, whatever their size, may keep a reward away."""


class Grade(Contract):
    """Rewards, or the failure instead of them; and the verifier's files by name."""

    rewards: dict[str, float]
    failure: Failure | None
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Tests:
    """The tests of an attempt, as one try of its grading sees them.

    Raises:
        StageError: from every method, when the tests cannot be run; transient while the sandbox
            lives.
    """

    sandboxes: Sandboxes
    watch: JobWatch
    sandbox_id: str
    task: Task
    run: str
    """Of the workflow. A reset makes another one, and grades anew."""
    attempt: str
    workdir: str
    seconds: float
    """How long test.sh may run."""
    ticket: int
    """Grows from try to try: one with a lower number can do nothing."""

    async def launched_ago(self) -> float | None:
        """How many seconds ago an earlier try launched them; None: none did, and none can now."""
        look = f"{self._unless_overtaken} && {{ {jobs.age_command(self._job, self.run)}; }}"
        said = await run_checked(
            self.sandboxes, self.sandbox_id, look, "looking for test.sh", Cause.VERIFIER_FAILED
        )
        return float(said) if said.strip() else None

    async def launch(self, env: Mapping[str, str]) -> None:
        """Start `tests/test.sh`, detached, in place of whatever an earlier launch left."""
        user = self.task.config.verifier.user
        tests = await asyncio.to_thread(subtree, self.task.bundle, "tests", executable=_TEST_SCRIPT)
        if tests is None:
            raise StageError(Cause.TASK_INVALID, f"task {self.task.name} has no tests")
        await launch_job(
            self.sandboxes,
            self.sandbox_id,
            self._job,
            _run_tests(self.workdir),
            env=env,
            cwd="/",
            user=None if user is None else str(user),
            otherwise=Cause.VERIFIER_FAILED,
            archives={"/tests": tests},
            before=f"{self._unless_overtaken} && {{ {jobs.clear_command(self._job)}; {_EMPTY} && "
            f"{jobs.claim_command(self._job, self.run)}; }}",
            after=jobs.linger_command(self._job, _LINGER_HUNDREDTHS),
        )

    async def in_time(self, until: datetime) -> bool:
        """Whether test.sh ended by then, after which it is ended.

        Its exit code means nothing, as under Harbor.
        """
        if await poll(self._exit_code, until=until) is not None:
            return True
        end = f"{self._unless_overtaken} && {{ {jobs.kill_command(self._job, _GRACE_SECONDS)}; }}"
        said = await run_checked(
            self.sandboxes, self.sandbox_id, end, "ending test.sh", Cause.VERIFIER_FAILED
        )
        # An exit code means that it had ended, and nobody could say so.
        return said.strip() != ""

    async def grade(self, *, in_time: bool) -> Grade:
        """Read the reward that the tests wrote, and bring all logs of the attempt."""
        files = await collect(
            self.sandboxes,
            self.sandbox_id,
            self._sources(),
            Cause.VERIFIER_FAILED,
            first=_FIRST,
        )
        if not in_time:
            late = f"tests/test.sh was still running after {self.seconds:g} s"
            return Grade(rewards={}, failure=_failure(Cause.VERIFIER_TIMEOUT, late), files=files)
        written = (files.get(f"{_VERIFIER_LOGS}/reward.{kind}") for kind in ("json", "txt"))
        try:
            rewards = parse_reward(*written)
        except RewardInvalid as error:
            failure = _failure(Cause.REWARD_INVALID, str(error))
            return Grade(rewards={}, failure=failure, files=files)
        return Grade(rewards=rewards, failure=None, files=files)

    @property
    def _job(self) -> str:
        return jobs.job_id(self.attempt, "grade")

    @property
    def _unless_overtaken(self) -> str:
        return jobs.ticket_command(self._job, self.ticket)

    async def _exit_code(self, patience_seconds: float) -> int | None:
        try:
            return await self.watch.exit_code(
                self.sandbox_id, self._job, patience_seconds=patience_seconds
            )
        except TransientStageError:
            # The tests go on, seen or not; another try would only look again.
            return None

    def _sources(self) -> dict[str, str]:
        sources = {
            **agent_logs(jobs.job_id(self.attempt)),
            _VERIFIER_LOGS: "/logs/verifier",
            _ARTIFACTS: "/logs/artifacts",
        }
        for artifact in self.task.config.artifacts:
            path = str(PurePosixPath(self.workdir, artifact.source))
            sources[f"{_ARTIFACTS}/{artifact.destination or path.lstrip('/')}"] = path
        return sources


def _run_tests(workdir: str) -> str:
    """A command that runs test.sh in the work directory, or, where the agent has removed it, in
    `/`: that work too is graded."""
    gone = f"rolldock: the work directory {workdir} cannot be entered: the tests run in /"
    return (
        f"cd {shlex.quote(workdir)} 2>/dev/null || echo {shlex.quote(gone)} > {_OUTPUT}; "
        f"/tests/{_TEST_SCRIPT} >> {_OUTPUT} 2>&1"
    )


def _failure(cause: Cause, message: str) -> Failure:
    return Failure(stage=Stage.GRADE, cause=cause, message=message, retryable=False)
