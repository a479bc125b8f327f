"""Version 1 of cgroups: a hierarchy for each controller, or for a few together.

The parent group stands at the root of the mount, where the next sandboxd finds it whatever group
that one is started in. It mounts nothing: a controller without a hierarchy is not used.
"""

from pathlib import Path
from typing import ClassVar, Final

from rolldock.sandboxd.cgroups_hierarchy import (
    Controller,
    Hierarchy,
    Limits,
    Mount,
    Setting,
    UnusableError,
)

_PERIOD_MICROSECONDS: Final = 100_000
_SMALLEST_QUOTA_MICROSECONDS: Final = 1000


class SeparateHierarchy(Hierarchy):
    """A hierarchy of version 1."""

    kill_counter: ClassVar[str] = "memory.oom_control"

    def settings(self, limits: Limits) -> tuple[Setting, ...]:
        """The files that limit a group, in the order in which they must be written."""
        memory = str(limits.memory_bytes)
        quota = max(_SMALLEST_QUOTA_MICROSECONDS, int(limits.cpu_cores * _PERIOD_MICROSECONDS))
        files = {
            Controller.MEMORY: (
                Setting("memory.limit_in_bytes", memory),
                # Memory and swap together; the kernel refuses less than the limit before it.
                Setting("memory.memsw.limit_in_bytes", memory, is_optional=True),
                Setting("memory.swappiness", "0", is_optional=True),
            ),
            Controller.CPU: (
                Setting("cpu.cfs_period_us", str(_PERIOD_MICROSECONDS)),
                Setting("cpu.cfs_quota_us", str(quota)),
            ),
            Controller.PIDS: (Setting("pids.max", str(limits.n_processes)),),
        }
        return tuple(it for name in Controller if name in self.controllers for it in files[name])

    def entry(self, name: str) -> dict[str, str]:
        """A process writes itself into `tasks`: one thread that moves itself waits for nobody."""
        return {"tasks": str(self.parent / name / "tasks")}


def find(controller: Controller, mounts: list[Mount], name: str) -> Path:
    """Where the parent group called `name` is, now that it was made.

    Raises:
        UnusableError: the controller is not mounted, or nothing can be made there.
    """
    for mount in mounts:
        if mount.kind == "cgroup" and controller in mount.options:
            parent = mount.directory / name
            try:
                parent.mkdir(mode=0o755, exist_ok=True)
            except OSError as error:
                raise UnusableError(f"{mount.directory}: {error.strerror}") from error
            return parent
    raise UnusableError(f"the {controller} controller is not mounted by itself")
