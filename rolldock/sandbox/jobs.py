"""Detached jobs: launched once, watched from afar, ended with their process group.

The layout is the SDK's (`/tmp/job_{8 hex}.*`), so that its batch status works, but the launcher is
ours: the id comes from the attempt, which makes a second launch a no-op, and the environment comes
from a file of mode 0600, since the SDK would put it on a command line that every process can read.
"""

import asyncio
import shlex
from typing import Final

from prime_sandboxes import APIError, BackgroundJob

from rolldock.errors import StageError, TransientStageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.faults import is_cancellation, stage_error

_BATCH: Final = 100
"""The API's limit for one status request."""
_LAUNCH_TENTHS: Final = 50
"""How many tenths of a second a second launch waits for the first one's pid."""
_LOST: Final = ("lost", "without recording")
"""What the provider's word on a job says when no exit code will ever come."""

_GROUP_LIVES: Final = (
    "lives() { local line; for stat in /proc/[0-9]*/stat; do "
    '{ read -r line < "$stat"; } 2>/dev/null || continue; set -- ${line##*) }; '
    '[ "$3" = "$p" ] && [ "$1" != Z ] && return 0; done; return 1; }'
)
"""Whether a process of group $p lives. Signal 0 would count the dead whom no pid 1 reaps."""


def job_id(attempt: str, role: str = "") -> str:
    """8 hex digits of the attempt's UUID; another role of the same attempt gets others."""
    digits = attempt.replace("-", "")
    return digits[:8] if not role else digits[8:16]


def paths(job: str) -> tuple[str, str, str, str]:
    """Launch directory, stdout, stderr and exit file of a job."""
    root = f"/tmp/job_{job}"
    return f"{root}.launch", f"{root}.stdout.log", f"{root}.stderr.log", f"{root}.exit"


def launch_command(job: str, command: str, *, env_file: str, cwd: str) -> str:
    """A bash command that launches `command` detached unless this job was launched before.

    It prints the job's pid. The job is the leader of its own session and process group; it reads
    its environment from `env_file`, which it removes. The pid is written after that: a launch that
    comes second waits for it, and so finds the job started and its file read.
    """
    launch, stdout, stderr, exit_file = paths(job)
    # The job's own PATH need not lead to rm.
    source = f"set -a; . {env_file} || exit 1; set +a; command -p rm -f {env_file}"
    script = (
        f"{source}; echo $$ > {launch}/pid || exit 1; echo started; exec > /dev/null 2>&1; "
        f"(cd {shlex.quote(cwd)} || exit 1; {command}\n) > {stdout} 2> {stderr} < /dev/null; "
        f'echo "$?" > {exit_file}'
    )
    return (
        f"if mkdir {launch} 2>/dev/null; then "
        f"ack=$(setsid bash -c {shlex.quote(script)} < /dev/null 2>&1 &); "
        f'test "$ack" = started || '
        f'{{ rm -rf {launch}; echo "job did not start: $ack" >&2; exit 1; }}; '
        f"else for _ in $(seq {_LAUNCH_TENTHS}); do "
        f"test -s {launch}/pid && break; sleep 0.1; done; rm -f {env_file}; fi; cat {launch}/pid"
    )


def linger_command(job: str, hundredths: int) -> str:
    """A bash command that waits a moment for a job to end, so that a short one needs no poll."""
    exit_file = paths(job)[3]
    return (
        f"for ((i = 0; i < {hundredths}; i++)); do test -s {exit_file} && break; sleep 0.01; done"
    )


def kill_command(job: str, grace_seconds: int) -> str:
    """A bash command that ends a job's process group: TERM, then KILL; prints its exit code."""
    launch, _, _, exit_file = paths(job)
    return (
        f"p=$(cat {launch}/pid 2>/dev/null); {_GROUP_LIVES}; "
        f'if [ -n "$p" ] && kill -TERM -- -"$p" 2>/dev/null; then '
        f"for _ in $(seq {grace_seconds * 20}); do lives || break; sleep 0.05; done; "
        'kill -KILL -- -"$p" 2>/dev/null; fi; '
        f"cat {exit_file} 2>/dev/null; true"
    )


def clear_command(job: str) -> str:
    """A bash command that ends what is left of a job and forgets it, so that it may run again."""
    launch, stdout, stderr, exit_file = paths(job)
    return (
        f"if test -d {launch}; then {{ {kill_command(job, 1)}; }} > /dev/null; "
        f"rm -rf {launch} {stdout} {stderr} {exit_file}; fi"
    )


class JobWatch:
    """Polls of many jobs, one request at a time for all that wait."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._waiting: dict[tuple[str, str], asyncio.Future[int | None]] = {}
        self._flush: asyncio.Task[None] | None = None

    async def exit_code(self, sandbox_id: str, job: str) -> int | None:
        """The exit code of a job; None while it runs.

        Raises:
            StageError: the job or its sandbox is lost; transient where it may be there later.
        """
        key = (sandbox_id, job)
        future = self._waiting.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[key] = future
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._ask())
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        while self._waiting:
            # One turn of the loop: whoever polls in the same moment shares the request, and whoever
            # comes while it is out shares the next one.
            await asyncio.sleep(0)
            keys = list(self._waiting)[:_BATCH]
            futures = {key: self._waiting.pop(key) for key in keys}
            try:
                answers = await self._batch(keys)
            except asyncio.CancelledError:
                for future in futures.values():
                    future.cancel()
                raise
            for key, answer in answers.items():
                future = futures[key]
                if future.done():
                    continue
                if isinstance(answer, StageError):
                    future.set_exception(answer)
                    # A waiter that was cancelled meanwhile never looks at it.
                    future.exception()
                else:
                    future.set_result(answer)

    async def _batch(
        self, keys: list[tuple[str, str]]
    ) -> dict[tuple[str, str], int | StageError | None]:
        """One request for all; where one job spoils it, one request each."""
        try:
            found = await self._sandboxes.sdk.get_background_job_statuses(
                [_job(sandbox, job) for sandbox, job in keys]
            )
        except (APIError, RuntimeError, TimeoutError, ValueError) as error:
            if is_cancellation(error):
                raise asyncio.CancelledError from error
            if len(keys) > 1:
                alone = await asyncio.gather(*(self._batch([key]) for key in keys))
                return {key: answer for one in alone for key, answer in one.items()}
            return {keys[0]: await self._explain(*keys[0], error)}
        return {
            (status.sandbox_id, status.job_id): status.exit_code if status.completed else None
            for status in found
        }

    async def _explain(self, sandbox_id: str, job: str, error: Exception) -> StageError:
        """Why a job has no status: its sandbox is gone, it is lost, or nobody can say now."""
        try:
            status = await self._sandboxes.status(sandbox_id)
        except StageError:
            return stage_error(error, Cause.JOB_LOST)
        if status is None:
            return await self._epitaph(sandbox_id)
        if str(error).startswith("Background job") and any(word in str(error) for word in _LOST):
            return StageError(Cause.JOB_LOST, f"job {job}: {error}")
        return TransientStageError(Cause.JOB_LOST, f"job {job}: {error}")

    async def _epitaph(self, sandbox_id: str) -> StageError:
        """What a command says of a sandbox that has ended: the SDK asks the API for the reason."""
        try:
            await self._sandboxes.run(
                sandbox_id, "true", timeout_seconds=10, otherwise=Cause.SANDBOX_LOST
            )
        except TransientStageError as error:
            return StageError(Cause.SANDBOX_LOST, str(error))
        except StageError as error:
            return error
        return TransientStageError(Cause.SANDBOX_LOST, f"sandbox {sandbox_id} is unsteady")


def _job(sandbox_id: str, job: str) -> BackgroundJob:
    _, stdout, stderr, exit_file = paths(job)
    return BackgroundJob(
        job_id=job,
        sandbox_id=sandbox_id,
        stdout_log_file=stdout,
        stderr_log_file=stderr,
        exit_file=exit_file,
    )
