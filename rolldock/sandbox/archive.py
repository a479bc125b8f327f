"""Many small files in one transfer: a tar each way."""

import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

PRIVATE: Final = 0o600
READABLE: Final = 0o644
EXECUTABLE: Final = 0o755


def pack(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Absolute path -> (content, mode), as an archive to be unpacked at `/`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpack(archive: bytes, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """The regular files of an archive; what else an agent may have put into it is passed over.

    Nothing is written anywhere: a name is a name. One that is not UTF-8 is made so.

    Raises:
        tarfile.TarError: the archive is broken, or holds more than `max_bytes`.
    """
    left = max_bytes
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
            for member in tar:
                left -= member.size
                if left < 0:
                    raise tarfile.ReadError(f"it holds more than {max_bytes} bytes")
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield _text(member.name.removeprefix("./")), content.read()
    except (EOFError, zlib.error, OSError) as error:
        raise tarfile.ReadError(str(error)) from error


def _text(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="replace")
