"""A command session: a process in a sandbox, those who listen to it, and how it ended.

Who may listen, and for how long its end is retained, is in `sessions.py`. It knows no HTTP.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Final

from rolldock.sandboxd import wire
from rolldock.sandboxd.entrance import EnteredProcess, EntryRefusedError, Streams
from rolldock.sandboxd.live import LiveSandbox
from rolldock.sandboxd.pipes import PipeReader, write_all
from rolldock.sandboxd.rootfs import WORK_DIRECTORY

_QUEUED_FRAMES: Final = 16
_REMEMBERED_INPUTS: Final = 1024
"""A client retries an input within seconds; older ones need no memory."""
_MARKER_VARIABLE: Final = "ROLLDOCK_COMMAND"


class SessionError(Exception):
    """Raised when a session cannot do what is asked; `code` is a Connect error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Subscription:
    """One listener: frames in order, then the end. A slow one slows the process down."""

    def __init__(self, first: Iterable[bytes | SessionError | None]) -> None:
        self._frames: asyncio.Queue[bytes | SessionError | None] = asyncio.Queue(_QUEUED_FRAMES)
        for frame in first:
            self._frames.put_nowait(frame)
        self._closed = False

    async def put(self, frame: bytes | SessionError | None) -> None:
        """Deliver a frame; None: the end; an error: the end, as a failure."""
        if not self._closed:
            await self._frames.put(frame)

    def close(self) -> None:
        """Nobody listens any more."""
        self._closed = True
        while not self._frames.empty():
            self._frames.get_nowait()

    async def frames(self) -> AsyncIterator[bytes]:
        """The frames until the end.

        Raises:
            SessionError: the process could not start, or its sandbox went away.
        """
        while (frame := await self._frames.get()) is not None:
            if isinstance(frame, SessionError):
                raise frame
            yield frame


class Session:
    """A command that runs, or ended a while ago."""

    def __init__(
        self,
        live: LiveSandbox,
        request: wire.StartRequest,
        environment: dict[str, str],
    ) -> None:
        self.request = request
        self.pid: int | None = None
        self._live = live
        self._subscriptions: list[Subscription] = []
        self._end: bytes | SessionError | None = None
        self._marker = f"{_MARKER_VARIABLE}={uuid.uuid4().hex}"
        self._stdin: int | None = None
        self._readers: list[PipeReader] = []
        self._inputs: dict[str, asyncio.Task[None]] = {}
        self._signals: set[str] = set()
        self._is_abandoned = False
        self._process = self._enter(environment)

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended."""
        return self.pid is not None and self._end is None

    def _enter(self, environment: dict[str, str]) -> EnteredProcess:
        command = self.request.command
        name, _, value = self._marker.partition("=")
        request = {
            "arguments": [command.program, *command.arguments],
            "environment": {**environment, **command.environment, name: value},
            "directory": command.directory or WORK_DIRECTORY,
            "user": command.user,
        }
        stdin, our_stdin = self._input_pipe()
        pipes = [os.pipe(), os.pipe()]
        try:
            streams = Streams(stdin, pipes[0][1], pipes[1][1])
            process = self._live.enter(request, streams)
        except BaseException:
            for descriptor in (pipes[0][0], pipes[1][0], our_stdin):
                if descriptor is not None:
                    os.close(descriptor)
            raise
        finally:
            for descriptor in (stdin, pipes[0][1], pipes[1][1]):
                os.close(descriptor)
        self._readers = [PipeReader(read_end) for read_end, _ in pipes]
        self._stdin = our_stdin
        return process

    def _input_pipe(self) -> tuple[int, int | None]:
        if not self.request.stdin:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), None
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        return read_end, write_end

    def subscribe(self) -> Subscription:
        """Listen from now on; what was said before is not repeated, but for start and end."""
        first: list[bytes | SessionError | None] = []
        if self.pid is not None:
            first.append(wire.started(self.pid))
        if self._end is not None:
            first += [self._end, None]
        subscription = Subscription(first)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop listening."""
        subscription.close()
        self._subscriptions.remove(subscription)

    async def run(self) -> None:
        """Follow the process to its end."""
        try:
            end = await self._follow()
        except EntryRefusedError as refusal:
            end = SessionError(refusal.code, str(refusal))
        finally:
            self._process.close()
            for reader in self._readers:
                reader.close()
            await self._close_input()
        if self._live.ending.done():
            # Otherwise the client would read the sandbox's end as exit code 137.
            end = SessionError("not_found", f"sandbox {self._live.id} is not running")
        elif self._is_abandoned:
            end = SessionError("unavailable", "sandboxd stopped and ended the command")
        self._end = end
        await self._publish(end)
        if isinstance(end, bytes):
            await self._publish(None)

    async def _follow(self) -> bytes | SessionError:
        self.pid = await self._process.started()
        await self._publish(wire.started(self.pid))
        async with asyncio.TaskGroup() as pumps:
            for is_stderr, reader in enumerate(self._readers):
                pumps.create_task(self._pump(reader, bool(is_stderr)))
            exit_code = await asyncio.shield(self._process.exit_code)
            for reader in self._readers:
                reader.process_ended()
        if exit_code is None:
            return SessionError("aborted", "the command's keeper was killed")
        return wire.ended(exit_code)

    async def _pump(self, reader: PipeReader, is_stderr: bool) -> None:
        while data := await reader.read():
            await self._publish(wire.output(is_stderr, data))

    async def _publish(self, frame: bytes | SessionError | None) -> None:
        for subscription in list(self._subscriptions):
            await subscription.put(frame)

    async def write(self, data: bytes, input_uuid: str) -> None:
        """Write to standard input, once for each `input_uuid`.

        Raises:
            SessionError: it has no input, or has closed it.
        """
        if self._stdin is None:
            raise SessionError("failed_precondition", "the session has no standard input")
        if input_uuid not in self._inputs:
            earlier = list(self._inputs.values())[-1:]
            if len(self._inputs) >= _REMEMBERED_INPUTS:
                del self._inputs[next(iter(self._inputs))]
            self._inputs[input_uuid] = asyncio.create_task(self._write(data, earlier))
        try:
            # Shielded: a retry of a request that was cut must find it complete, not half done.
            await asyncio.shield(self._inputs[input_uuid])
        except OSError as error:
            message = "the process has closed its input"
            raise SessionError("failed_precondition", message) from error

    async def _write(self, data: bytes, earlier: list[asyncio.Task[None]]) -> None:
        if earlier:
            await asyncio.wait(earlier)
        if self._stdin is None:
            raise BrokenPipeError
        await write_all(self._stdin, data)

    async def _close_input(self) -> None:
        for task in self._inputs.values():
            task.cancel()
        await asyncio.gather(*self._inputs.values(), return_exceptions=True)
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    async def signal(self, number: int, signal_uuid: str) -> None:
        """SIGTERM to its process group, or SIGKILL to everything it started; once for each uuid."""
        if signal_uuid in self._signals:
            return
        self._signals.add(signal_uuid)
        if number == wire.SIGTERM:
            self._process.send_signal(signal.SIGTERM)
        else:
            await self.kill()

    async def abandon(self) -> None:
        """End it because sandboxd ends; its clients must not read that as an exit code."""
        if self._end is None:
            self._is_abandoned = True
            await self.kill()

    async def kill(self) -> None:
        """End the command with all that it started, unless it has ended already."""
        if not self._process.exit_code.done():
            await self._live.kill_command(self._process, self._marker)
