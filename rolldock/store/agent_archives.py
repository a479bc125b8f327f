"""Installed agents in the store: packed reproducibly, in parts that one at a time fit in memory.

A record is written once, after its parts: what it names is there. It installs nothing, and knows
no sandbox.
"""

import asyncio
import gzip
import hashlib
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from rolldock.errors import UsageError
from rolldock.models.agent_archive import AgentArchive, AgentBuild, ArchivePart
from rolldock.store import keys
from rolldock.store.store import Store

PART_BYTES: Final = 16 * 1024 * 1024
_LEVEL: Final = 1
"""Of gzip: three times as fast as the usual one, for a tenth more bytes."""
_TIME: Final = 946_684_800
"""The year 2000, for whatever needs no time of its own; tar warns of 1970."""
_DIRECTORY: Final = 0o755
_PROGRAM: Final = 0o755
_FILE: Final = 0o644


async def find(store: Store, build: AgentBuild) -> AgentArchive | None:
    """The archive of an agent; None: nobody has pushed it."""
    found = await store.get(_key(build))
    return None if found is None else AgentArchive.model_validate_json(found)


async def pushed(store: Store) -> list[AgentArchive]:
    """All archives, by name, version, machine and recipe."""
    records = [await store.get(path) async for path in store.names(keys.AGENTS)]
    found = [AgentArchive.model_validate_json(record) for record in records if record]
    return sorted(found, key=lambda archive: _key(archive.build))


async def push(store: Store, directory: Path, build: AgentBuild) -> AgentArchive:
    """Store an agent's directory, unless that build is there: the first one stays.

    Raises:
        UsageError: it holds what no archive can.
    """
    there = await find(store, build)
    if there is not None:
        return there
    with tempfile.TemporaryFile(prefix="rolldock-agent-") as packed:
        await asyncio.to_thread(pack, directory, packed)
        parts, digest = await _put(store, packed)
    archive = AgentArchive(
        build=build,
        digest=digest,
        n_bytes=sum(part.n_bytes for part in parts),
        parts=parts,
        pushed_at=datetime.now(UTC),
    )
    if await store.create(_key(build), archive.model_dump_json().encode()):
        return archive
    return await find(store, build) or archive


def pack(directory: Path, into: IO[bytes]) -> None:
    """Write what a directory holds as a compressed tar, the same for the same content.

    Owners, times and exact modes are left out: everybody can read what is unpacked, and run what
    the owner could run. Only sources of Python keep their times, which compiled ones refer to.

    Raises:
        UsageError: something is no file, directory or link.
    """
    with (
        gzip.GzipFile("", "wb", _LEVEL, into, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in sorted(directory.rglob("*")):
            _add(tar, path, str(path.relative_to(directory)))


def _key(build: AgentBuild) -> str:
    return keys.agent_archive(build.name, build.version, build.machine, build.recipe)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    if not (path.is_symlink() or path.is_file() or path.is_dir()):
        raise UsageError(f"{path}: an agent's install holds only files, directories and links")
    member = tar.gettarinfo(str(path), arcname=name)
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(member.mtime) if path.suffix == ".py" else _TIME
    if member.isdir():
        member.mode = _DIRECTORY
    else:
        member.mode = _PROGRAM if member.mode & 0o100 else _FILE
    if not member.isreg():
        tar.addfile(member)
        return
    with path.open("rb") as content:
        tar.addfile(member, content)


async def _put(store: Store, packed: IO[bytes]) -> tuple[tuple[ArchivePart, ...], str]:
    """Store a file in parts; they, and the digest of the whole."""
    parts: list[ArchivePart] = []
    whole = hashlib.sha256()
    packed.seek(0)
    while content := await asyncio.to_thread(packed.read, PART_BYTES):
        await asyncio.to_thread(whole.update, content)
        digest = await store.put_blob(content)
        parts.append(ArchivePart(digest=digest, n_bytes=len(content)))
    return tuple(parts), whole.hexdigest()
