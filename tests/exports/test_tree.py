"""No name of a task, artifact or rollout leads out of an export's directory."""

from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from rolldock.exports.tree import Tree, inside


@given(st.lists(st.text(alphabet="./\\a\0~é\n:\ud800", max_size=12), max_size=6))
def test_every_path_stays_inside(names: list[str]) -> None:
    """Whatever they are named, files get relative paths, none above another, none twice."""
    tree = Tree()
    given_paths = [tree.add(name, b"") for name in names]
    for path in given_paths:
        parts = PurePosixPath(path).parts
        assert path == str(PurePosixPath(path))
        assert not path.startswith("/")
        assert ".." not in parts
        assert "\0" not in path
        assert all(len(part.encode()) <= 255 for part in parts)
    assert len(set(given_paths)) == len(names)
    files = {PurePosixPath(path) for path in given_paths}
    assert not any(parent in files for path in files for parent in path.parents)


def test_a_long_name_keeps_its_start() -> None:
    """What is too long for a file system is cut and told apart by a digest."""
    one, other = inside("x" * 300 + "1"), inside("x" * 300 + "2")
    assert one != other
    assert len(one.encode()) <= 200
