"""Who a command runs as, read from the sandbox's own text files.

Never through libc's name service: that would load modules from the sandbox's file system.
"""

import os
import stat
from typing import Final, NamedTuple

_LIMIT_BYTES: Final = 1 << 20
"""More of /etc/passwd than this is not read: the file belongs to the sandbox."""


class UnknownUserError(Exception):
    """Raised when the sandbox has no such user."""


class User(NamedTuple):
    """Ids and home of one user."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


ROOT: Final = User("root", 0, 0, (), "/root")


def find_user(name: str) -> User:
    """The user called `name`, or with the number `name`.

    Raises:
        UnknownUserError: neither a user of the sandbox nor a number.
    """
    if name in ("root", "0"):
        return ROOT
    for fields in _rows("/etc/passwd", 6):
        if fields[0] == name or fields[2] == name:
            uid, gid = int(fields[2]), int(fields[3])
            return User(fields[0], uid, gid, _groups(fields[0]), fields[5] or "/")
    if name.isdecimal() and int(name) < 1 << 31:
        return User(name, int(name), int(name), (), "/")
    raise UnknownUserError(name)


def _groups(user: str) -> tuple[int, ...]:
    rows = _rows("/etc/group", 4)
    return tuple(int(row[2]) for row in rows if user in row[3].split(","))


def _rows(path: str, n_fields: int) -> list[list[str]]:
    rows = [line.split(":") for line in read_small(path, _LIMIT_BYTES).split("\n")]
    return [row for row in rows if len(row) >= n_fields and row[2].isdecimal()]


def read_small(path: str, limit_bytes: int) -> str:
    """The start of a regular file as text; empty where there is none."""
    try:
        # O_NONBLOCK: a pipe that the sandbox put there must not stop us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.read(descriptor, limit_bytes).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
