"""What a killed program leaves behind: the processes that inherited a mark in their environment.

Linux only: it reads /proc. It finds no process that cleared its environment.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

MARK_NAME: Final = "ROLLDOCK_BENCHMARK_MARK"


class Mark:
    """A variable that a program and all that it starts carry; zombies carry nothing."""

    def __init__(self) -> None:
        self.environment = {MARK_NAME: uuid4().hex}
        self._written = f"{MARK_NAME}={self.environment[MARK_NAME]}".encode()

    def alive(self) -> list[int]:
        """Process ids of all that carry the mark and have not ended."""
        return [pid for pid in _process_ids() if self._is_on(pid)]

    def end_all(self) -> None:
        """SIGKILL to every one of them, until there is none."""
        while pids := self.alive():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _is_on(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return self._written in environment.split(b"\0")


def _process_ids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            yield int(entry.name)
