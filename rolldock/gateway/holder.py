"""The socket-holding parent: binds the port, runs one child, starts it again when it dies.

It reads no request and holds no state, so it has nothing to die of; while there is no child,
connections queue in the socket's backlog.
"""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import Final

from rolldock.errors import UsageError
from rolldock.gateway.config import GatewayConfig

BACKLOG: Final = 4096
SOCKET_VARIABLE: Final = "ROLLDOCK_GATEWAY_SOCKET_FD"
PARENT_VARIABLE: Final = "ROLLDOCK_GATEWAY_PARENT_FD"
"""A pipe whose other end this process holds: it closes when this process ends, however that is."""

_ALLOCATOR: Final = {
    "MALLOC_TRIM_THRESHOLD_": str(16 * 1024**2),
    "MALLOC_MMAP_THRESHOLD_": str(4 * 1024**2),
}
"""For the child's C library: the memory that a body took is kept for the next one. To give its
pages back and take them again with every call costs a twentieth of the time of a large body."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 2.0
_HEALTHY_SECONDS: Final = 10.0
"""A child that lived so long is started again after the shortest pause."""

_KILL_SECONDS: Final = 5.0
"""What a child may take to end beyond its own time for draining."""


def bind(host: str, port: int) -> socket.socket:
    """The listening socket.

    Raises:
        UsageError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}: "
            "end what holds the port, or choose another"
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Holder:
    """The parent of one gateway replica."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> None:
        """Keep a child running until SIGTERM or SIGINT.

        Raises:
            UsageError: the port is taken.
        """
        listener = bind(self._config.host, self._config.port)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        print(f"listening on {address(listener)}", flush=True)  # noqa: T201 (its one output)
        pipe, held = os.pipe()
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping:
            started = time.monotonic()
            self._child = self._start(listener.fileno(), pipe)
            if self._stopping:
                self._end_child()
            code = self._child.wait()
            if self._stopping:
                break
            if time.monotonic() - started > _HEALTHY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            _say(f"gateway process {self._child.pid} ended with {code}: starting another")
            time.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)
        os.close(held)

    def _start(self, listener: int, pipe: int) -> subprocess.Popen[bytes]:
        variables = {SOCKET_VARIABLE: str(listener), PARENT_VARIABLE: str(pipe)}
        return subprocess.Popen(
            [sys.executable, "-m", "rolldock.gateway"],
            env=_ALLOCATOR | os.environ | variables,
            pass_fds=(listener, pipe),
        )

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._end_child()

    def _end_child(self) -> None:
        """Let the child drain; the alarm ends one that does not come to an end."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            signal.alarm(math.ceil(self._config.drain_seconds + _KILL_SECONDS))

    def _kill(self, number: int, frame: FrameType | None) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 (the operator's only sign)
