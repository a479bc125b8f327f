"""Files into a sandbox: gzipped tars, uploaded and unpacked where they belong."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Final

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes

_COMMAND_SECONDS: Final = 60
_OUTPUT_CHARACTERS: Final = 1500


def last(output: str) -> str:
    """The end of a command's output, short enough for a message."""
    return output.strip()[-_OUTPUT_CHARACTERS:]


async def upload_archives(
    sandboxes: Sandboxes, sandbox_id: str, archives: Mapping[str, bytes], otherwise: Cause
) -> str:
    """Upload gzipped tars, and return the bash command that unpacks each into its directory.

    A round trip is what a remote sandbox is slow at, so the caller puts the command before its own.

    Args:
        archives: directory, as bash reads it (quoted, or a variable) -> archive.
    """
    # Names of their own: a stalled try of the same stage may be at the same step.
    uploads = {f"/tmp/rolldock-upload-{uuid.uuid4().hex}.tgz": place for place in archives}
    await asyncio.gather(
        *(
            sandboxes.upload(sandbox_id, path, archives[place], otherwise)
            for path, place in uploads.items()
        )
    )
    return " && ".join(
        f"mkdir -p {place} && tar -xzf {path} -C {place} --no-same-owner && rm -f {path}"
        for path, place in uploads.items()
    )


async def run_checked(
    sandboxes: Sandboxes, sandbox_id: str, command: str, doing: str, otherwise: Cause
) -> str:
    """The output of a short command that must succeed.

    Raises:
        StageError: it did not; the message says `doing` and the end of its errors.
    """
    done = await sandboxes.run(
        sandbox_id, command, timeout_seconds=_COMMAND_SECONDS, otherwise=otherwise
    )
    if done.exit_code != 0:
        raise StageError(otherwise, f"{doing} failed: {last(done.stderr)}")
    return done.stdout
