"""Tree entries as tar bytes and back: what makes a bundle canonical."""

import io
import tarfile
from collections.abc import Iterable

from rolldock.errors import UsageError

from .tree import TreeEntry


def write_tar(entries: Iterable[TreeEntry]) -> bytes:
    """Entries as a tar: times and owners zero, modes 644 or 755, in the order given."""
    buffer = io.BytesIO()
    # GNU format: long and non-ASCII names need no pax headers, which would hold times.
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            header = tarfile.TarInfo(entry.path)
            header.mode = 0o755 if entry.executable or entry.content is None else 0o644
            if entry.content is None:
                header.type = tarfile.DIRTYPE
                archive.addfile(header)
            else:
                header.size = len(entry.content)
                archive.addfile(header, io.BytesIO(entry.content))
    return buffer.getvalue()


def read_tar(bundle: bytes) -> list[TreeEntry]:
    """The entries of such a tar.

    Raises:
        UsageError: it is no tar, or holds more than files and directories.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:") as archive:
            return [_read_member(archive, member) for member in archive]
    except tarfile.TarError as error:
        raise UsageError(f"the task bundle is not a tar: {error}") from error


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> TreeEntry:
    if member.isdir():
        return TreeEntry(path=member.name, content=None)
    source = archive.extractfile(member)
    if source is None:
        raise UsageError(f"the task bundle holds {member.name}, neither a file nor a directory")
    executable = bool(member.mode & 0o100)
    return TreeEntry(path=member.name, content=source.read(), executable=executable)
