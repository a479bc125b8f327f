"""Launching a job: its files, its environment, and the one command that starts it.

The environment, with whatever secrets it holds, travels in a file of mode 0600 that the launched
process removes as soon as it has read it: a command line can be read by every process there.
"""

import shlex
from collections.abc import Mapping
from typing import Final

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox import archive, jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.transfer import last, unpack_into

_LAUNCH_SECONDS: Final = 60


async def launch_job(
    sandboxes: Sandboxes,
    sandbox_id: str,
    job: str,
    command: str,
    *,
    env: Mapping[str, str],
    cwd: str,
    user: str | None,
    otherwise: Cause,
    files: Mapping[str, str] | None = None,
) -> int:
    """Launch a command detached unless this job was launched already; its pid.

    Args:
        files: absolute path -> content, for the job's user alone.

    Raises:
        StageError: it did not start.
    """
    env_file = f"/tmp/job_{job}.env"
    exports = "".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items())
    private = {env_file: exports, **(files or {})}
    packed = archive.pack(
        {path: (content.encode(), archive.PRIVATE) for path, content in private.items()}
    )
    await unpack_into(sandboxes, sandbox_id, {"/": packed}, otherwise)
    if user is not None:
        await _give(sandboxes, sandbox_id, list(private), user, otherwise)
    started = await sandboxes.run(
        sandbox_id,
        jobs.launch_command(job, command, env_file=env_file, cwd=cwd),
        timeout_seconds=_LAUNCH_SECONDS,
        otherwise=otherwise,
        user=user,
    )
    if started.exit_code != 0:
        raise StageError(otherwise, f"the job did not start: {last(started.stderr)}")
    return int(started.stdout)


async def _give(
    sandboxes: Sandboxes, sandbox_id: str, files: list[str], user: str, otherwise: Cause
) -> None:
    """Make files a user's own, which may not exist in the image."""
    owned = " ".join(shlex.quote(path) for path in files)
    done = await sandboxes.run(
        sandbox_id,
        f"chown {shlex.quote(user)} {owned}",
        timeout_seconds=_LAUNCH_SECONDS,
        otherwise=otherwise,
    )
    if done.exit_code != 0:
        raise StageError(otherwise, f"user {user!r} of the task: {last(done.stderr)}")
