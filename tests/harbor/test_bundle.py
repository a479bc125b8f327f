"""Bundles: the same content is the same bytes."""

import io
import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolldock.errors import UsageError
from rolldock.harbor.bundle import digest, load_task, pack, subtree

NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..", ".git", "__pycache__", ".DS_Store"))
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary(max_size=200), max_size=6
)


def write(root: Path, tree: dict[tuple[str, ...], bytes], names: list[tuple[str, ...]]) -> None:
    """Write those files of a tree whose places are not taken, in the order given."""
    for name in names:
        path = root.joinpath(*name)
        if len(os.fsencode(name[-1])) > 255 or any(len(os.fsencode(part)) > 255 for part in name):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tree[name])
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_a_bundle_depends_on_names_and_contents_alone(tree: dict[tuple[str, ...], bytes]) -> None:
    """Not on times, owners, umask or the directory's own name; and the tar holds every byte."""
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        write(Path(one), tree, sorted(tree))
        write(Path(other), tree, sorted(tree))
        for path in Path(other).rglob("*"):
            os.utime(path, (1, 1))
            path.chmod(0o700 if path.is_dir() else 0o600)
        bundle = pack(Path(one))
        assert bundle == pack(Path(other))
        with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
            files = {m.name: archive.extractfile(m) for m in archive if m.isfile()}
        found = {name: file.read() for name, file in files.items() if file is not None}
        there = [path for path in Path(one).rglob("*") if path.is_file()]
        assert found == {path.relative_to(one).as_posix(): path.read_bytes() for path in there}


def test_members_are_canonical(write_task: Any) -> None:
    """Sorted, without time or owner, and executable or not."""
    directory = write_task({"environment/run.py": "#!/usr/bin/python3\n"})
    (directory / "environment/run.py").chmod(0o744)
    with tarfile.open(fileobj=io.BytesIO(pack(directory))) as archive:
        members = archive.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    modes = {m.name: m.mode for m in members}
    assert modes["environment/run.py"] == 0o755
    assert modes["instruction.md"] == 0o644


def test_version_control_and_caches_are_left_out(write_task: Any) -> None:
    """They change from machine to machine."""
    directory = write_task()
    before = digest(pack(directory))
    for name in (".git/config", "tests/__pycache__/x.pyc"):
        (directory / name).parent.mkdir()
        (directory / name).write_text("x")
    assert digest(pack(directory)) == before


def test_a_change_is_another_digest(write_task: Any) -> None:
    """Of content and of the executable bit."""
    directory = write_task()
    digests = {digest(pack(directory))}
    (directory / "tests/test.sh").chmod(0o755)
    digests.add(digest(pack(directory)))
    (directory / "instruction.md").write_text("Do that.\n")
    digests.add(digest(pack(directory)))
    assert len(digests) == 3
    assert all(len(value) == 64 for value in digests)


def test_links_inside_are_followed(write_task: Any) -> None:
    """So that a folder can be uploaded alone."""
    directory = write_task({"environment/data.csv": "1,2\n"})
    (directory / "tests/data.csv").symlink_to("../environment/data.csv")
    archive = subtree(pack(directory), "tests")
    assert archive is not None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile("data.csv")
        assert file is not None
        assert file.read() == b"1,2\n"


def test_a_subtree_is_relative_to_its_folder(write_task: Any) -> None:
    """Nothing else is in it, and a folder without files has none."""
    directory = write_task({"tests/unit/a.py": "pass\n", "tests2/b.py": "pass\n"})
    (directory / "solution").mkdir()
    bundle = pack(directory)
    archive = subtree(bundle, "tests")
    assert archive is not None
    assert archive == subtree(bundle, "tests")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["test.sh", "unit", "unit/a.py"]
    assert subtree(bundle, "solution") is None
    assert subtree(bundle, "environment") is None


def test_a_script_of_a_subtree_can_be_made_executable(write_task: Any) -> None:
    """Where an archive or a checkout lost its bit; no other file is."""
    directory = write_task({"tests/unit/test.sh": "true\n"})
    (directory / "tests/test.sh").chmod(0o644)
    archive = subtree(pack(directory), "tests", executable="test.sh")
    assert archive is not None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        modes = {member.name: member.mode for member in tar if member.isfile()}
    assert modes == {"test.sh": 0o755, "unit/test.sh": 0o644}


def test_what_is_no_bundle_is_refused() -> None:
    """A worker says so instead of failing in its middle."""
    with pytest.raises(UsageError, match="not a tar"):
        load_task(b"no tar at all" * 100)
