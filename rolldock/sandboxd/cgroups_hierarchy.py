"""One cgroup hierarchy of this machine, and the groups of sandboxes in it.

What version 1 and version 2 have in common; how each is found, and the names of its files, is in
`cgroups_v1.py` and `cgroups_v2.py`. When a group is made or removed is for `cgroups.py` to say.
"""

import contextlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, NamedTuple


class Controller(StrEnum):
    """What a group can limit here."""

    MEMORY = "memory"
    CPU = "cpu"
    PIDS = "pids"


class Limits(NamedTuple):
    """What one sandbox may use."""

    memory_bytes: int
    """Without swap."""
    cpu_cores: float
    n_processes: int
    """At once, and every thread counts as one."""


class Setting(NamedTuple):
    """A value for a file of a group."""

    file: str
    value: str
    is_optional: bool = False
    """Kernels differ on whether they have the file."""


class UnusableError(Exception):
    """Raised when a controller cannot be had; the message says why."""


class Mount(NamedTuple):
    """A mounted hierarchy."""

    directory: Path
    kind: str
    """`cgroup` for version 1, `cgroup2`."""
    options: frozenset[str]


class Hierarchy(ABC):
    """A hierarchy with a parent group of ours, whose children are sandboxes."""

    kill_counter: ClassVar[str]
    """The file that counts, as `oom_kill`, the processes which the kernel killed for memory."""

    def __init__(self, parent: Path, controllers: frozenset[Controller]) -> None:
        self.parent = parent
        self.controllers = controllers

    @abstractmethod
    def settings(self, limits: Limits) -> tuple[Setting, ...]:
        """The files that limit a group, in the order in which they must be written."""

    @abstractmethod
    def entry(self, name: str) -> dict[str, str]:
        """What a new process needs in order to begin in a group: see `inside/server.py`."""

    def make(self, name: str, limits: Limits) -> None:
        """Make a group with its limits, or set those of one that is there.

        Raises:
            OSError: it cannot be made.
        """
        directory = self.parent / name
        directory.mkdir(mode=0o755, exist_ok=True)
        for setting in self.settings(limits):
            path = directory / setting.file
            if not setting.is_optional or path.exists():
                write(path, setting.value)

    def probe(self, limits: Limits) -> None:
        """Make a group and remove it.

        Raises:
            OSError: the kernel refuses part of it.
        """
        try:
            self.make("probe", limits)
        finally:
            with contextlib.suppress(FileNotFoundError):
                (self.parent / "probe").rmdir()

    def names(self) -> list[str]:
        """The groups that are there."""
        if not self.parent.is_dir():
            return []
        return [entry.name for entry in os.scandir(self.parent) if entry.is_dir()]


def mounts() -> Iterator[Mount]:
    """The cgroup hierarchies that are mounted here."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = mount.split(" ")
            # Blanks and the like are written as octal numbers.
            path = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), fields[4])
            yield Mount(Path(path), kind, frozenset(options.split(",")))


def read(path: Path) -> bytes:
    """A small file of a group."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def write(path: Path, value: str) -> None:
    """Write to a file of a group; the kernel answers each write, so it must be one call."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
