"""Processes of this machine as /proc shows them: identity, markers, descendants.

Process ids are reused, so a process is recorded by id, start time, boot and namespace, and signals
go through pidfds.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from rolldock.models.base import Record


class ProcessIdentity(Record):
    """What tells a process from every other that had or will have its number."""

    pid: int
    start_ticks: int
    """Start time since boot, in clock ticks."""
    namespace: int
    """Inode of its process namespace."""
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Read it for a process that runs now.

        Raises:
            OSError: there is no such process.
        """
        with open(f"/proc/{pid}/stat", "rb") as text:
            # The second field is the name, in parentheses, and may hold anything.
            start = int(text.read().rpartition(b")")[2].split()[19])
        with open("/proc/sys/kernel/random/boot_id") as text:
            boot_id = text.read().strip()
        namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino
        return cls(pid=pid, start_ticks=start, namespace=namespace, boot_id=boot_id)

    def open(self) -> int | None:
        """A pidfd of exactly this process; None if it is gone."""
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(self.pid)
            # Compared after the pidfd is open: from then on the number cannot be reused unseen.
            if type(self).of(self.pid) == self and not has_ended(descriptor):
                return descriptor
            os.close(descriptor)
        return None


def has_ended(pidfd: int) -> bool:
    """Whether the process behind a pidfd has ended (it may not have been reaped)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def kill_pidfd(pidfd: int) -> None:
    """SIGKILL; nothing happens if the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdecimal():
            yield int(name)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _has_marker(pid: int, marker: bytes) -> bool:
    return marker in _read(f"/proc/{pid}/environ").split(b"\0")


def _parent(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _descendants(root: int) -> set[int]:
    parents = {pid: _parent(pid) for pid in _pids()}
    found = {root}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def _in_namespace(pid: int, namespace: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace
    except OSError:
        return False


def _kill_where(pids: set[int], still_true: Callable[[int], bool]) -> bool:
    """Kill each process for which the condition holds once its pidfd is open. Any killed?"""
    killed = False
    for pid in pids:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            try:
                if still_true(pid) and not has_ended(descriptor):
                    kill_pidfd(descriptor)
                    killed = True
            finally:
                os.close(descriptor)
    return killed


def kill_command(child: int | None, marker: bytes, namespace: int) -> None:
    """Kill a command in a sandbox: its descendants, and whatever carries its marker.

    A process that left the tree and cleared its environment escapes. Blocking: some milliseconds.
    """
    family = _descendants(child) if child is not None else set[int]()
    _kill_where(family, lambda pid: _in_namespace(pid, namespace))

    def is_marked(pid: int) -> bool:
        return _in_namespace(pid, namespace) and _has_marker(pid, marker)

    # Again until nothing is found: a process may fork while we look.
    for _ in range(5):
        if not _kill_where({pid for pid in _pids() if is_marked(pid)}, is_marked):
            return


def kill_listed(members: Path) -> None:
    """Kill every process that a file names, one a line, as groups list their members."""

    def listed() -> set[int]:
        # A process that this namespace cannot see is listed as 0.
        return {int(pid) for pid in members.read_text().split()} - {0}

    _kill_where(listed(), lambda pid: pid in listed())


def kill_marked(marker: bytes) -> None:
    """Kill every process of this machine that carries a marker in its environment."""
    for _ in range(5):
        if not _kill_where(
            {pid for pid in _pids() if _has_marker(pid, marker)},
            lambda pid: _has_marker(pid, marker),
        ):
            return
