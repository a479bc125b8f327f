"""What is kept of a sandbox: log files as blobs, each under its name, within fixed bounds."""

import asyncio
import shlex
import tarfile
import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from rolldock.errors import TransientStageError
from rolldock.models.failure import Cause
from rolldock.models.result import Artifact
from rolldock.sandbox import archive
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.transfer import last
from rolldock.store.store import Store

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""A larger file keeps only its tail of a sixteenth of that."""
MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024
"""Of one collection: what the caller names first, then the smallest files."""
MAX_FILES: Final = 1000
MAX_NAMED: Final = 24
"""Files with a reference of their own; a result must stay small. The rest goes into one archive."""
MAX_NAME_BYTES: Final = 160
"""A file with a longer name is one of the rest, too."""
REST: Final = "rest.tar"
_TAIL_BYTES: Final = MAX_FILE_BYTES // 16
_COLLECT_SECONDS: Final = 60


def _collect_command(first: Iterable[str], paths: Iterable[str], staging: str) -> str:
    """List the files below some paths, replace the large ones by their tails, pack as many as the
    bounds allow: below each of the first paths, then below all others, the smallest first."""
    groups = [*(_listed([path], staging) for path in first), _listed(paths, staging)]
    bounded = (
        'awk \'{size = $1; sub(/^[0-9]+ /, "")} '
        f"!seen[$0]++ && n < {MAX_FILES} && total + size <= {MAX_TOTAL_BYTES} "
        "{n++; total += size; print}'"
    )
    pack = f"tar -czPf {staging}.tgz -T {staging}.list"
    return f"export LC_ALL=C; {{ {' '.join(groups)} }} | {bounded} > {staging}.list; {pack}"


def _listed(paths: Iterable[str], staging: str) -> str:
    """A command that says size and path of each file below some paths, the smallest first."""
    roots = " ".join(shlex.quote(path) for path in paths)
    tail = (
        f'f={staging}$1.tail; mkdir -p "${{f%/*}}"; '
        f'tail -c {_TAIL_BYTES} "$1" > "$f"; stat -c "%s %n" "$f"'
    )
    return (
        f"find {roots} -type f \\( -size +{MAX_FILE_BYTES}c -exec sh -c {shlex.quote(tail)} _ "
        "{} \\; -o -exec stat -c '%s %n' {} + \\) 2>/dev/null | sort -n;"
    )


async def collect(
    sandboxes: Sandboxes,
    sandbox_id: str,
    sources: dict[str, str],
    otherwise: Cause,
    *,
    first: Sequence[str] = (),
) -> dict[str, bytes]:
    """The regular files at some paths of a sandbox, by name.

    Args:
        sources: name -> absolute path of a file or directory; absent ones are passed over.
        first: paths among them that come before all others, in this order: no other file takes
            their room within the bounds.
    """
    # A name of its own: a stalled try of the same stage may be collecting too.
    staging = f"/tmp/rolldock-evidence-{uuid.uuid4().hex}"
    packing = await sandboxes.run(
        sandbox_id,
        _collect_command(first, sources.values(), staging),
        timeout_seconds=_COLLECT_SECONDS,
        otherwise=otherwise,
    )
    packed = await sandboxes.download(sandbox_id, f"{staging}.tgz", otherwise)
    if packed is None:
        # The command always leaves an archive: without one, nothing is known of any file.
        raise TransientStageError(otherwise, f"no logs came: {last(packing.stderr)}")
    try:
        found = await asyncio.to_thread(lambda: dict(archive.unpack(packed, MAX_TOTAL_BYTES)))
    except tarfile.TarError as error:
        raise TransientStageError(otherwise, f"the logs came broken: {error}") from error
    by_path = {path.removeprefix(staging): content for path, content in found.items()}
    return {
        name + path.removeprefix(source): content
        for name, source in sources.items()
        for path, content in by_path.items()
        if path in (source, f"{source}.tail") or path.startswith(f"{source}/")
    }


async def keep(store: Store, files: dict[str, bytes]) -> tuple[Artifact, ...]:
    """Store files as blobs and return their references; what is too many goes into `rest.tar`."""
    short = [name for name in files if len(name.encode()) <= MAX_NAME_BYTES]
    first = sorted(short, key=lambda name: (name.count("/"), name))[:MAX_NAMED]
    named = {name: files[name] for name in first}
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
