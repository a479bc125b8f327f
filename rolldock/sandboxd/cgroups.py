"""What a sandbox may use of this machine, enforced by the kernel: memory, processor, processes.

Each sandbox has a group named by its id, in every hierarchy that can be used, below one parent
group of this state directory. Its first process goes there before it starts anything, commands that
enter later begin there, and a group cannot be left from inside: no cgroup file system is mounted in
a sandbox. Groups outlive sandboxd; the next one finds them by name and removes those that no
sandbox has any more. What cannot be enforced is said in one line at start; all else works as ever.

Out of memory. The Prime API knows one word for it: the sandbox has ended and its error type is
`OOM_KILLED`, which the SDK raises as SandboxOOMError from whatever call comes next. Of a killed
command it knows nothing: that would be exit code 137 of an agent or a test, which looks like the
policy's own doing. So any kill for memory in a group ends its sandbox with that error type,
whichever process the kernel chose. Version 2 kills the whole group by itself (`memory.oom.group`);
in version 1 sandboxd ends what is left. The kernel counts a kill before it sends the signal, so
that looking at the counter whenever a process in the sandbox has ended, and before a reply from
inside is passed on, is enough for no caller ever to see the exit code first; a look every second
finds what nobody asks for (`live.py`).

Disk space is not limited: a file system for each sandbox would cost boot time or memory.
"""

import contextlib
import errno
import hashlib
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rolldock.sandboxd import cgroups_v1, cgroups_v2
from rolldock.sandboxd.cgroups_hierarchy import (
    Controller,
    Hierarchy,
    Limits,
    UnusableError,
    mounts,
    read,
    write,
)
from rolldock.sandboxd.processes import kill_listed

_log = logging.getLogger(__name__)

_BYTES_PER_GB: Final = 1 << 30
_REMOVE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.002
_LIMITED: Final = {
    Controller.MEMORY: "memory_gb",
    Controller.CPU: "cpu_cores",
    Controller.PIDS: "the number of processes",
}
_PROBE: Final = Limits(memory_bytes=_BYTES_PER_GB, cpu_cores=1, n_processes=1024)


def limits(memory_gb: float, cpu_cores: float, n_processes: int) -> Limits:
    """The limits of a sandbox from what its request says; a GB is 2**30 bytes."""
    return Limits(int(memory_gb * _BYTES_PER_GB), cpu_cores, n_processes)


class Group:
    """The group of one sandbox; without hierarchies there is none, and nothing is limited."""

    def __init__(self, name: str, hierarchies: tuple[Hierarchy, ...]) -> None:
        self._hierarchies = hierarchies
        self._name = name
        self._directories = tuple(it.parent / name for it in hierarchies)
        counting = [it for it in hierarchies if Controller.MEMORY in it.controllers]
        self._counters = tuple(it.parent / name / it.kill_counter for it in counting)

    @property
    def entry(self) -> list[dict[str, str]]:
        """How a process begins in it, for the fork server."""
        return [it.entry(self._name) for it in self._hierarchies]

    @property
    def is_entered_alone(self) -> bool:
        """Whether a process can put itself into it, without `add`."""
        return all("tasks" in entry for entry in self.entry)

    def open_entries(self) -> list[int]:
        """Descriptors into which a process writes 0 to be in it, as far as it can do that itself.

        They are the caller's to close.

        Raises:
            OSError: the group is gone.
        """
        paths = [entry["tasks"] for entry in self.entry if "tasks" in entry]
        return [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in paths]

    def add(self, pid: int) -> None:
        """Move a process into it where it cannot do so itself. Blocks, for some 10 ms.

        Raises:
            OSError: the kernel refused; that the process has ended is no error.
        """
        for entry in self.entry:
            if "unified" in entry:
                with contextlib.suppress(ProcessLookupError):
                    write(Path(entry["unified"]) / "cgroup.procs", str(pid))

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed a process of it for memory, ever. It does not block."""
        for counter in self._counters:
            with contextlib.suppress(OSError):
                for line in read(counter).splitlines():
                    if line.startswith(b"oom_kill ") and not line.endswith(b" 0"):
                        return True
        return False

    def remove(self) -> None:
        """End what is left in it and remove it; nothing happens if it is gone. Blocks.

        Raises:
            OSError: it is still there after some seconds.
        """
        deadline = time.monotonic() + _REMOVE_SECONDS
        for directory in self._directories:
            while not _is_removed(directory):
                if time.monotonic() > deadline:
                    raise OSError(errno.EBUSY, "processes in it do not end", str(directory))
                with contextlib.suppress(FileNotFoundError):
                    kill_listed(directory / "cgroup.procs")
                time.sleep(_RETRY_SECONDS)


class Groups:
    """The groups of all sandboxes of one state directory. Its methods block."""

    def __init__(self, state_dir: Path) -> None:
        status = state_dir.stat()
        # Not by the path alone: containers that share a hierarchy may have equal paths.
        identity = f"{state_dir}:{status.st_dev}:{status.st_ino}"
        self._parent = f"rolldock-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        self._hierarchies: tuple[Hierarchy, ...] = ()
        self.not_enforced: tuple[str, ...] = ()
        """One line for each limit that is accepted and has no effect here."""

    def open(self) -> None:
        """Find what can be used on this machine; called once."""
        found: dict[Path, Hierarchy] = {}
        lacks: list[str] = []
        for controller in Controller:
            try:
                hierarchy = self._usable(controller)
            except UnusableError as error:
                lacks.append(f"{_LIMITED[controller]} is not enforced: {error}")
                continue
            known = found.get(hierarchy.parent)
            if known is not None:
                hierarchy = type(known)(known.parent, known.controllers | hierarchy.controllers)
            found[hierarchy.parent] = hierarchy
        self._hierarchies = tuple(found.values())
        lacks.append("disk_size_gb is not enforced: sandboxes share the state directory's disk")
        self.not_enforced = tuple(lacks)

    @property
    def controllers(self) -> frozenset[Controller]:
        """What is enforced."""
        return frozenset(name for it in self._hierarchies for name in it.controllers)

    def _usable(self, controller: Controller) -> Hierarchy:
        """A hierarchy for one controller that was tried out.

        Raises:
            UnusableError: there is none.
        """
        mounted = list(mounts())
        hierarchy: Hierarchy
        only = frozenset({controller})
        try:
            parent = cgroups_v1.find(controller, mounted, self._parent)
            hierarchy = cgroups_v1.SeparateHierarchy(parent, only)
        except UnusableError as lack:
            try:
                parent = cgroups_v2.find(controller, mounted, self._parent)
            except UnusableError as other:
                raise UnusableError(f"{lack}, {other}") from None
            hierarchy = cgroups_v2.UnifiedHierarchy(parent, only)
        try:
            hierarchy.probe(_PROBE)
        except OSError as error:
            raise UnusableError(f"{error.filename}: {error.strerror}") from error
        return hierarchy

    def make(self, name: str, limits: Limits) -> Group:
        """The group of a new sandbox.

        Raises:
            OSError: the kernel refused it.
        """
        for hierarchy in self._hierarchies:
            hierarchy.make(name, limits)
        return self.find(name)

    def find(self, name: str) -> Group:
        """The group of a sandbox, as far as it is there."""
        there = [it for it in self._hierarchies if (it.parent / name).is_dir()]
        return Group(name, tuple(there))

    def sweep(self, keep: Iterable[str]) -> None:
        """Remove the groups of all other sandboxes."""
        kept = set(keep)
        for name in {name for it in self._hierarchies for name in it.names()} - kept:
            try:
                self.find(name).remove()
            except OSError as error:
                _log.warning("the group of %s stays: %s", name, error)

    def close(self) -> None:
        """Remove the parent groups, unless a sandbox lives on in one."""
        for hierarchy in self._hierarchies:
            with contextlib.suppress(OSError):
                hierarchy.parent.rmdir()


def _is_removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
