"""Launching a job: its files, its environment, and the one command that starts it.

The environment, with whatever secrets it holds, travels in a file of mode 0600 that the launched
process removes as soon as it has read it: a command line can be read by every process there.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Final

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox import archive, jobs
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.transfer import last, run_checked, upload_archives

_LAUNCH_SECONDS: Final = 60
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
    archives: Mapping[str, bytes] | None = None,
    before: str = "true",
    after: str = "true",
) -> int:
    """Launch a command detached unless this job was launched already; its pid.

    Args:
        files: absolute path -> content, for the job's user alone.
        archives: directory -> tar to unpack there.
        before: a bash command to run before anything is unpacked.
        after: one to run once the job is launched.

    Raises:
        StageError: it did not start.
    """
    env_file = f"/tmp/job_{job}.env"
    private = {env_file: assignments(env), **(files or {})}
    packed = archive.pack(
        {path: (content.encode(), archive.PRIVATE) for path, content in private.items()}
    )
    unpack = await upload_archives(
        sandboxes, sandbox_id, {**(archives or {}), "/": packed}, otherwise
    )
    prepare = f"{{ {before}; }} && {unpack}"
    launch = f"{{ {jobs.launch_command(job, command, env_file=env_file, cwd=cwd)}; }} && {after}"
    if user is None:
        launch = f"{{ {prepare}; }} || exit 1; {launch}"
    else:
        owned = " ".join(shlex.quote(path) for path in private)
        give = f"{prepare} && chown {shlex.quote(user)} {owned}"
        await run_checked(sandboxes, sandbox_id, give, f"preparing for user {user!r}", otherwise)
    started = await sandboxes.run(
        sandbox_id, launch, timeout_seconds=_LAUNCH_SECONDS, otherwise=otherwise, user=user
    )
    if started.exit_code != 0:
        raise StageError(otherwise, f"the job did not start: {last(started.stderr)}")
    pid = started.stdout.strip()
    if not pid.isdecimal():
        raise StageError(otherwise, f"the job did not start: its pid reads {pid[:80]!r}")
    return int(pid)


def assignments(env: Mapping[str, str]) -> str:
    """Variables as bash reads them back from a file, whatever their values hold.

    Raises:
        StageError: `task_invalid`, a name or a value that bash cannot hold.
    """
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            raise StageError(Cause.TASK_INVALID, f"variable {name!r}: not a name that bash knows")
        if not _is_text(value):
            raise StageError(Cause.TASK_INVALID, f"variable {name}: its value is not UTF-8 text")
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items())


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False
