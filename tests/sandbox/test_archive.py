"""Archives both ways: ours come out as they went in, an agent's may hold anything."""

import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from rolldock.sandbox import archive

LIMIT = 1_000_000


def hostile(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive with whatever an agent puts into it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """One entry."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_files_survive_the_round_trip() -> None:
    """Content, also empty or binary, under the same name without its leading slash."""
    files = {"/a": b"", "/b/ü 漢.txt": bytes(range(256)), "/c/" + "d" * 150: b"x" * 70_000}
    packed = archive.pack({path: (content, 0o644) for path, content in files.items()})
    unpacked = dict(archive.unpack(packed, LIMIT))
    assert unpacked == {path.lstrip("/"): content for path, content in files.items()}


def test_tar_itself_unpacks_what_we_pack(tmp_path: Path) -> None:
    """With the modes that were asked for."""
    packed = archive.pack({"/x/key": (b"k", archive.PRIVATE), "/x/run": (b"r", archive.EXECUTABLE)})
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=packed, check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "x").iterdir()}
    assert modes == {"key": 0o600, "run": 0o755}


def test_only_regular_files_come_out() -> None:
    """Links, devices, pipes and directories are passed over, wherever they point."""
    packed = hostile(
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (member("hard", tarfile.LNKTYPE, "/etc/passwd"), b""),
        (member("device", tarfile.CHRTYPE), b""),
        (member("block", tarfile.BLKTYPE), b""),
        (member("pipe", tarfile.FIFOTYPE), b""),
        (member("directory", tarfile.DIRTYPE), b""),
        (member("./file"), b"content"),
    )
    assert dict(archive.unpack(packed, LIMIT)) == {"file": b"content"}


def test_a_hostile_name_is_only_a_name() -> None:
    """Nothing is written: an absolute path or one that climbs is a key in a dictionary."""
    packed = hostile((member("/etc/x"), b"1"), (member("../../y"), b"2"))
    assert dict(archive.unpack(packed, LIMIT)) == {"/etc/x": b"1", "../../y": b"2"}


def test_a_name_that_is_no_text_is_made_text() -> None:
    """It will stand in a record, which is UTF-8."""
    packed = hostile((member(b"caf\xe9.log".decode(errors="surrogateescape")), b"x"))
    [(name, content)] = archive.unpack(packed, LIMIT)
    assert (name.encode().decode(), content) == ("caf\ufffd.log", b"x")


def test_a_bomb_is_refused_before_it_is_read() -> None:
    """What unpacks to more than the limit is broken, however small it came."""
    packed = hostile((member("small"), b"1"), (member("zeros"), bytes(LIMIT)))
    assert len(packed) < 10_000
    with pytest.raises(tarfile.TarError, match="more than 1000000 bytes"):
        dict(archive.unpack(packed, LIMIT))


@pytest.mark.parametrize("percent", [0, 1, 50])
def test_a_broken_archive_is_a_tar_error(percent: int) -> None:
    """Cut off anywhere before its padding, it is one kind of error."""
    packed = hostile((member("file"), random.Random(1).randbytes(100_000)))
    with pytest.raises(tarfile.TarError):
        dict(archive.unpack(packed[: len(packed) * percent // 100], LIMIT))


def test_damage_inside_is_a_tar_error() -> None:
    """So is a flipped byte in the compressed data."""
    packed = bytearray(hostile((member("file"), b"x" * 1000)))
    packed[20] ^= 0xFF
    with pytest.raises(tarfile.TarError):
        dict(archive.unpack(bytes(packed), LIMIT))
