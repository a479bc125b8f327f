"""What is kept of a sandbox: log files as blobs, each under its name, within fixed bounds."""

import asyncio
import shlex
import tarfile
from typing import Final

from rolldock.errors import TransientStageError
from rolldock.models.failure import Cause
from rolldock.models.result import Artifact
from rolldock.sandbox import archive
from rolldock.sandbox.client import Sandboxes
from rolldock.store.store import Store

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""A larger file keeps only its tail of a sixteenth of that."""
MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024
"""Of one collection; the smallest files come first, so that a reward is never crowded out."""
MAX_FILES: Final = 1000
MAX_NAMED: Final = 32
"""Files with a reference of their own; a result must stay small. The rest goes into one archive."""
REST: Final = "rest.tgz"
_TAIL_BYTES: Final = MAX_FILE_BYTES // 16
_COLLECT_SECONDS: Final = 60


def _collect_command(sources: dict[str, str], staging: str) -> str:
    """Copy each source below its name, cut what is too large, pack the smallest files."""
    copies = "; ".join(
        f"cp -rP {shlex.quote(path)} {staging}/{shlex.quote(name)} 2>/dev/null"
        for name, path in sources.items()
    )
    cut = (
        f"find {staging} -type f -size +{MAX_FILE_BYTES}c -exec sh -c "
        f'\'tail -c {_TAIL_BYTES} "$1" > "$1.tail"; rm -f "$1"\' _ {{}} \\;'
    )
    smallest = (
        f"find . -type f -exec stat -c '%s %n' {{}} + | sort -n | head -n {MAX_FILES} | "
        f"awk '{{t += $1; if (t <= {MAX_TOTAL_BYTES}) {{sub(/^[0-9]+ /, \"\"); print}}}}'"
    )
    pack = f"cd {staging} && {smallest} > {staging}.list; tar -czf {staging}.tgz -T {staging}.list"
    return f"rm -rf {staging}*; mkdir -p {staging}; {copies}; {cut}; {pack}"


async def collect(
    sandboxes: Sandboxes, sandbox_id: str, sources: dict[str, str], otherwise: Cause
) -> dict[str, bytes]:
    """The regular files at some paths of a sandbox, by name.

    Args:
        sources: name -> file or directory; absent ones are passed over.
    """
    staging = "/tmp/rolldock-evidence"
    await sandboxes.run(
        sandbox_id,
        _collect_command(sources, staging),
        timeout_seconds=_COLLECT_SECONDS,
        otherwise=otherwise,
    )
    packed = await sandboxes.download(sandbox_id, f"{staging}.tgz", otherwise)
    if packed is None:
        return {}
    try:
        return dict(archive.unpack(packed))
    except tarfile.TarError as error:
        raise TransientStageError(otherwise, f"the logs came broken: {error}") from error


async def keep(store: Store, files: dict[str, bytes]) -> tuple[Artifact, ...]:
    """Store files as blobs and return their references; what is too many goes into `rest.tgz`."""
    named = dict(sorted(files.items(), key=lambda item: (item[0].count("/"), item[0]))[:MAX_NAMED])
    rest = {name: (files[name], archive.READABLE) for name in files if name not in named}
    if rest:
        named[REST] = await asyncio.to_thread(archive.pack, rest)
    return tuple(
        [
            Artifact(
                name=name.removesuffix(".tail"),
                digest=await store.put_blob(content),
                n_bytes=len(content),
                truncated=name.endswith(".tail"),
            )
            for name, content in sorted(named.items())
        ]
    )
