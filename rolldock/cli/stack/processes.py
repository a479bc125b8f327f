"""Which processes belong to a home, whoever started them, and which to a process.

For proving that nothing is left. Ends nothing.
"""

import os
from pathlib import Path
from typing import Final

from rolldock.settings import HOME_VARIABLE

_PROC: Final = Path("/proc")
_ZOMBIE: Final = "Z"


def processes_of(home: Path) -> dict[int, str]:
    """The command line of each living process of a home, by its id; this process not counted.

    Found by variables, command lines and mounts: sandboxes count too, since their root is mounted
    over directories of the home.
    """
    found: dict[int, str] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if _belongs(entry, home.absolute()):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace").strip()
        except OSError:
            continue  # it has ended meanwhile
    return found


def children_of(pid: int) -> list[int]:
    """What a process's main thread has started and not waited for yet.

    Raises:
        OSError: it has ended.
    """
    return [int(child) for child in (_PROC / f"{pid}/task/{pid}/children").read_text().split()]


def _belongs(process: Path, home: Path) -> bool:
    if (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == _ZOMBIE:
        return False
    path = os.fsencode(home)
    if path in (process / "cmdline").read_bytes():
        return True
    variables = (process / "environ").read_bytes().split(b"\0")
    if HOME_VARIABLE.encode() + b"=" + path in variables:
        return True
    return any(
        b"upperdir=" in mount and path + b"/" in mount
        for mount in (process / "mountinfo").read_bytes().splitlines()
    )
