"""A process of the gateway's benchmark: on a core of its own, with what it uses and says."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rolldock.cli.stack.processes import children_of
from rolldock.errors import UnavailableError

_LISTENING: Final = "listening on "
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@contextmanager
def on_core(core: int) -> Generator[None]:
    """What is started here runs on one core, with all that it starts itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Program:
    """A started process, its descendants, and what it said."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        core: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        with on_core(core), log.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    async def ask(self, line: str) -> str:
        """Write a line to it and read one.

        Raises:
            UnavailableError: it has ended.
        """
        await asyncio.to_thread(self.tell, line)
        return await self.line()

    def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    async def line(self) -> str:
        """The next line that it prints.

        Raises:
            UnavailableError: it has ended.
        """
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        if not line:
            raise UnavailableError(f"{self.process.args} has ended: {self._last_words()}")
        return line.strip()

    async def port(self) -> int:
        """The port in the line by which it says that it listens."""
        while not (line := await self.line()).startswith(_LISTENING):
            pass
        return int(line.rpartition(":")[2])

    @property
    def cpu_seconds(self) -> float:
        """Processor time of it and its living descendants."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.process.pid))

    @property
    def rss_bytes(self) -> int:
        """Resident memory of it and its descendants; what they share counts for each."""
        return sum(_rss_bytes(pid) for pid in _tree(self.process.pid))

    def end(self) -> None:
        """End it and all that it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def _tree(pid: int) -> list[int]:
    return [pid, *(one for child in children_of(pid) for one in _tree(child))]


def _rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_seconds(pid: int) -> float:
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(own[11]) + int(own[12])) / _TICKS
