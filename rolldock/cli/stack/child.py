"""One supervised process: started, awaited until ready, started again when it dies.

It dies with this process, whatever ends that: the kernel kills it (PR_SET_PDEATHSIG). Ctrl-C on
the terminal does not reach it: it is in a session of its own, and ends when `stop` says so.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rolldock.cli.stack.program import Program
from rolldock.errors import UnavailableError

_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_FIRST_DELAY_SECONDS: Final = 0.2
_LONGEST_DELAY_SECONDS: Final = 10.0
_HEALTHY_SECONDS: Final = 10.0
"""A process that lived so long starts its backoff anew when it dies."""
_LOG_TAIL_BYTES: Final = 8192
_WRONG_USAGE: Final = 2


class Child:
    """A program with the process that runs it now."""

    def __init__(
        self, program: Program, logs: Path, directory: Path, say: Callable[[str], None]
    ) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self._directory = directory
        self._say = say
        self._ready = asyncio.Event()
        self._ending = False
        self._at_once = False
        self._log_start = 0
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process that runs now; None between two."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def start(self) -> None:
        """Start it, return once it is ready, and start it again whenever it dies from then on.

        Raises:
            UnavailableError: it ended or said nothing in time; its last line says why.
        """
        await self._launch()
        await self._until_ready()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"stack {self.program.name}")

    async def ready(self) -> None:
        """Wait until it serves: at once, unless it died or was killed and is not back yet."""
        await self._ready.wait()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would; it is started again."""
        self._signal(signal.SIGKILL)
        self.resume()

    def pause(self) -> None:
        """Stop it (SIGSTOP) with the processes of its group, for tests and chaos."""
        if self.pid is not None:
            self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT); nothing happens if it was not paused."""
        self._signal_group(signal.SIGCONT)

    async def restart(self) -> None:
        """End it in order and start it again; returns once it is ready."""
        self._at_once = True
        self._ready.clear()
        await self._end(self._process)
        await self._ready.wait()

    async def stop(self) -> None:
        """End it for good: SIGTERM, and SIGKILL when it takes too long."""
        self._ending = True
        self._ready.clear()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._end(self._process)

    def last_line(self) -> str:
        """The last line of its log since it was started, for messages."""
        lines = self._said().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    async def _launch(self) -> None:
        try:
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = await asyncio.create_subprocess_exec(
                    *("setpriv", "--pdeathsig", "KILL", "--", *self.program.command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.program.env,
                    cwd=self._directory,
                    start_new_session=True,
                )
        except OSError as error:
            raise UnavailableError(f"{self.program.name} cannot be started: {error}") from error

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not await self._serves():
            process = self._process
            if process is None or process.returncode is not None:
                raise UnavailableError(self._why_it_ended())
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{self.program.name} is not ready after {_READY_SECONDS:.0f} s: see {self.log}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        self._ready.set()

    async def _serves(self) -> bool:
        if self.program.ready_line is not None:
            wanted = self.program.ready_line.encode()
            return any(line.startswith(wanted) for line in self._said().splitlines())
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.program.port)
        except OSError:
            return False
        writer.close()
        return True

    def _said(self) -> bytes:
        with self.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - _LOG_TAIL_BYTES))
            return log.read()

    def _why_it_ended(self) -> str:
        said = self.last_line()
        if said and self._process is not None and self._process.returncode == _WRONG_USAGE:
            return said  # our servers' exit code for what the caller must mend, in one line
        said = said or f"it said nothing; see {self.log}"
        return f"{self.program.name} did not start ({self._how_it_ended()}): {said}"

    def _how_it_ended(self) -> str:
        code = None if self._process is None else self._process.returncode
        if code is not None and code < 0:
            return signal.Signals(-code).name
        return f"exit code {code}"

    async def _supervise(self) -> None:
        delay = _FIRST_DELAY_SECONDS
        while not self._ending:
            started_at = time.monotonic()
            if self._process is not None:
                await self._process.wait()
            self._ready.clear()
            if time.monotonic() - started_at > _HEALTHY_SECONDS:
                delay = _FIRST_DELAY_SECONDS
            if not self._at_once:
                self._say(
                    f"{self.program.name} ended ({self._how_it_ended()}); starting it again "
                    f"in {delay:.1f} s; its log: {self.log}"
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
            self._at_once = False
            await self._launch_again()

    async def _launch_again(self) -> None:
        try:
            await self._launch()
            await self._until_ready()
        except UnavailableError as error:
            self._say(str(error))
            await self._end(self._process)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._ready.clear()
            self._process.send_signal(number)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            # It leads a session of its own; after its death others of it may be left.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _end(self, process: asyncio.subprocess.Process | None) -> None:
        if process is None or process.returncode is not None:
            return
        self.resume()
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self.program.stop_seconds)
        except TimeoutError:
            process.kill()
            await process.wait()
