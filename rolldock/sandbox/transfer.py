"""Files into a sandbox: gzipped tars, uploaded and unpacked where they belong."""

import shlex
import uuid
from collections.abc import Mapping
from typing import Final

from rolldock.errors import StageError
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes

_UNPACK_SECONDS: Final = 60
_OUTPUT_CHARACTERS: Final = 1500


def last(output: str) -> str:
    """The end of a command's output, short enough for a message."""
    return output.strip()[-_OUTPUT_CHARACTERS:]


async def unpack_into(
    sandboxes: Sandboxes, sandbox_id: str, archives: Mapping[str, bytes], otherwise: Cause
) -> None:
    """Unpack gzipped tars into directories of the sandbox, which are made."""
    commands: list[str] = []
    for directory, content in archives.items():
        # A name of its own: a stalled try of the same stage may be at the same step.
        path = f"/tmp/rolldock-upload-{uuid.uuid4().hex}.tgz"
        await sandboxes.upload(sandbox_id, path, content, otherwise)
        target = shlex.quote(directory)
        commands.append(
            f"mkdir -p {target} && tar -xzf {path} -C {target} --no-same-owner && rm -f {path}"
        )
    done = await sandboxes.run(
        sandbox_id,
        " && ".join(commands),
        timeout_seconds=_UNPACK_SECONDS,
        otherwise=otherwise,
    )
    if done.exit_code != 0:
        raise StageError(otherwise, f"unpacking files failed: {last(done.stderr)}")
