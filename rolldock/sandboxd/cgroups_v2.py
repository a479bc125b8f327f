"""Version 2 of cgroups: one hierarchy, whose controllers are handed down from group to group.

The parent group stands at the root of the mount, as in version 1. In a container that root is the
container's own group, which may not hold processes and hand controllers down at once: its processes
are then moved into a group beside ours. On a plain machine the root may do both.
"""

import contextlib
import errno
from pathlib import Path
from typing import ClassVar, Final

from rolldock.sandboxd.cgroups_hierarchy import (
    Controller,
    Hierarchy,
    Limits,
    Mount,
    Setting,
    UnusableError,
    write,
)

_PERIOD_MICROSECONDS: Final = 100_000
_SMALLEST_QUOTA_MICROSECONDS: Final = 1000
_MEMBERS: Final = "cgroup.procs"
_HANDED_DOWN: Final = "cgroup.subtree_control"
_REST_OF_CONTAINER: Final = "rolldock-container"
_MOVES: Final = 10
"""Processes may fork while they are moved."""


class UnifiedHierarchy(Hierarchy):
    """The hierarchy of version 2."""

    kill_counter: ClassVar[str] = "memory.events"

    def settings(self, limits: Limits) -> tuple[Setting, ...]:
        """The files that limit a group."""
        quota = max(_SMALLEST_QUOTA_MICROSECONDS, int(limits.cpu_cores * _PERIOD_MICROSECONDS))
        files = {
            Controller.MEMORY: (
                Setting("memory.max", str(limits.memory_bytes)),
                Setting("memory.swap.max", "0", is_optional=True),
                Setting("memory.oom.group", "1", is_optional=True),
            ),
            Controller.CPU: (Setting("cpu.max", f"{quota} {_PERIOD_MICROSECONDS}"),),
            Controller.PIDS: (Setting("pids.max", str(limits.n_processes)),),
        }
        return tuple(it for name in Controller if name in self.controllers for it in files[name])

    def entry(self, name: str) -> dict[str, str]:
        """A process is born in the directory: moving one that lives takes some 10 ms."""
        return {"unified": str(self.parent / name)}


def find(controller: Controller, mounts: list[Mount], name: str) -> Path:
    """The parent group called `name`, made if need be, whose children have the controller.

    Raises:
        UnusableError: version 2 is not mounted, lacks the controller, or does not hand it down.
    """
    roots = [mount.directory for mount in mounts if mount.kind == "cgroup2"]
    if not roots:
        raise UnusableError("and there is no hierarchy of version 2")
    root = roots[0]
    try:
        if controller not in _words(root / "cgroup.controllers"):
            raise UnusableError(f"and {root} does not have it")
        _hand_down(root, controller)
        parent = root / name
        parent.mkdir(mode=0o755, exist_ok=True)
        _hand_down(parent, controller)
    except OSError as error:
        raise UnusableError(f"and {root} does not hand it down: {error.strerror}") from error
    return parent


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _hand_down(group: Path, controller: Controller) -> None:
    if controller in _words(group / _HANDED_DOWN):
        return
    order = f"+{controller}"
    for _ in range(_MOVES):
        try:
            write(group / _HANDED_DOWN, order)
            return
        except OSError as error:
            # Only the group of a container: no other holds processes and is ours to change.
            if error.errno != errno.EBUSY or "0::/" not in _words(Path("/proc/self/cgroup")):
                raise
            _move_processes(group, group / _REST_OF_CONTAINER)
    write(group / _HANDED_DOWN, order)


def _move_processes(source: Path, target: Path) -> None:
    target.mkdir(mode=0o755, exist_ok=True)
    for pid in _words(source / _MEMBERS):
        with contextlib.suppress(ProcessLookupError):
            write(target / _MEMBERS, pid)
