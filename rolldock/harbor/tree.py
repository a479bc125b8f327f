"""A task directory as a sorted tree of files in memory, safe to pack and to read.

Symbolic links to files are followed, so that any part of the tree can be moved alone. Links that
leave the directory, links to directories and special files are refused.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from rolldock.errors import UsageError

SKIPPED: Final = frozenset({".git", "__pycache__", ".DS_Store"})


class TreeEntry(BaseModel):
    """A file with its content, or a directory."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Relative, with `/`."""
    content: bytes | None
    """None: a directory."""
    executable: bool = False


def read_tree(directory: Path) -> list[TreeEntry]:
    """Everything below a task directory, sorted by path.

    Raises:
        UsageError: no such directory, or an entry that cannot be packed.
    """
    if not directory.is_dir():
        raise UsageError(f"no such task directory: {directory}: give the directory of a task.toml")
    root = directory.resolve()
    return sorted(_walk(root, root), key=lambda entry: entry.path)


def _walk(root: Path, directory: Path) -> Iterator[TreeEntry]:
    for path in directory.iterdir():
        if path.name in SKIPPED:
            continue
        if any("\ud800" <= character <= "\udfff" for character in path.name):
            raise UsageError(f"{os.fsencode(path)!r}: a file name that is not UTF-8: rename it")
        relative = path.relative_to(root).as_posix()
        if path.is_dir() and not path.is_symlink():
            yield TreeEntry(path=relative, content=None)
            yield from _walk(root, path)
        else:
            yield _read_file(root, path, relative)


def _read_file(root: Path, path: Path, relative: str) -> TreeEntry:
    target = path.resolve()
    if not target.is_relative_to(root):
        raise UsageError(
            f"{path}: symbolic link to {target}, outside the task directory: copy the file instead"
        )
    if target.is_dir():
        raise UsageError(f"{path}: symbolic link to a directory: copy the directory instead")
    try:
        status = target.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: neither a file nor a directory: remove it from the task")
        content = target.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    executable = bool(status.st_mode & stat.S_IXUSR)
    return TreeEntry(path=relative, content=content, executable=executable)
