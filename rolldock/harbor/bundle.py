"""A task as one canonical tar: the same files give the same bytes, and so the same digest.

Names are sorted, times and owners zero, modes 644 or 755. The directory's own name is not in it:
whoever refers to a bundle by digest knows the task's name.
"""

import hashlib
from pathlib import Path

from .tar import read_tar, write_tar
from .task import Task, parse_task
from .tree import TreeEntry, read_tree


def pack(directory: Path) -> bytes:
    """A task directory as a bundle; what it holds is not checked.

    Raises:
        UsageError: no such directory, or an entry that cannot be packed.
    """
    return write_tar(read_tree(directory))


def digest(bundle: bytes) -> str:
    """SHA-256 of a bundle: the task's identity."""
    return hashlib.sha256(bundle).hexdigest()


def load_task(bundle: bytes, name: str = "task") -> Task:
    """The task in a bundle, under the name it has when its `task.toml` gives none.

    Raises:
        UsageError: the bundle is no tar, or breaks the task format.
    """
    return parse_task(read_tar(bundle), bundle, name=name, source=name)


def subtree(bundle: bytes, folder: str, *, executable: str | None = None) -> bytes | None:
    """A folder of the task as a tar, its paths relative to it; None where it has no files.

    Args:
        executable: a path in the folder that is made executable, whatever it is in the task, as
            Harbor makes the scripts that it runs: an archive or a checkout may have lost the bit.

    Raises:
        UsageError: the bundle is no tar.
    """
    prefix = f"{folder}/"
    inside = [
        _moved(entry, entry.path.removeprefix(prefix), executable)
        for entry in read_tar(bundle)
        if entry.path.startswith(prefix)
    ]
    if all(entry.content is None for entry in inside):
        return None
    return write_tar(inside)


def _moved(entry: TreeEntry, path: str, executable: str | None) -> TreeEntry:
    can_run = entry.executable or path == executable
    return entry.model_copy(update={"path": path, "executable": can_run})
