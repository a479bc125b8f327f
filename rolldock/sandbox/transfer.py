"""Files into a sandbox: tars, uploaded and unpacked where they belong."""

import asyncio
import gzip
import uuid
from collections.abc import Mapping
from typing import Final

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes

_COMMAND_SECONDS: Final = 60
_LARGE_BYTES: Final = 128 * 1024
"""From here on an archive is compressed."""
_OUTPUT_CHARACTERS: Final = 1500


def last(output: str) -> str:
    """The end of a command's output, short enough for a message."""
    return output.strip()[-_OUTPUT_CHARACTERS:]


async def upload_archives(
    sandboxes: Sandboxes, sandbox_id: str, archives: Mapping[str, bytes], otherwise: Cause
) -> str:
    """Upload tars, and return the bash command that unpacks each into its directory.

    A round trip is what a remote sandbox is slow at, so the caller puts the command before its own.

    Args:
        archives: directory, as bash reads it (quoted, or a variable) -> tar.
    """
    commands = await asyncio.gather(
        *(
            _upload_archive(sandboxes, sandbox_id, directory, content, otherwise)
            for directory, content in archives.items()
        )
    )
    return " && ".join(commands)


async def _upload_archive(
    sandboxes: Sandboxes, sandbox_id: str, directory: str, content: bytes, otherwise: Cause
) -> str:
    # A name of its own: a stalled try of the same stage may be at the same step.
    path = f"/tmp/rolldock-upload-{uuid.uuid4().hex}.tar"
    unzip = ""
    if len(content) > _LARGE_BYTES:
        content, unzip = await asyncio.to_thread(gzip.compress, content, 1), "z"
    await sandboxes.upload(sandbox_id, path, content, otherwise)
    make = "" if directory == "/" else f"mkdir -p {directory} && "
    return f"{make}tar -x{unzip}f {path} -C {directory} --no-same-owner && rm -f {path}"


async def run_checked(
    sandboxes: Sandboxes,
    sandbox_id: str,
    command: str,
    doing: str,
    otherwise: Cause,
    *,
    cwd: str | None = "/",
) -> str:
    """The output of a short command that must succeed; its work directory is as `Sandboxes.run`'s.

    Raises:
        StageError: it did not; the message says `doing` and the end of its errors.
    """
    done = await sandboxes.run(
        sandbox_id, command, timeout_seconds=_COMMAND_SECONDS, otherwise=otherwise, cwd=cwd
    )
    if done.exit_code != 0:
        raise StageError(otherwise, f"{doing} failed: {last(done.stderr)}")
    return done.stdout
