"""Many small files in one transfer: a gzipped tar each way."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from typing import Final

PRIVATE: Final = 0o600
READABLE: Final = 0o644
EXECUTABLE: Final = 0o755


def pack(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Absolute path -> (content, mode), as an archive to be unpacked at `/`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpack(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The regular files of an archive; what else an agent may have put into it is passed over.

    Raises:
        tarfile.TarError: the archive is broken.
    """
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name.removeprefix("./"), content.read()
