"""What the fork server does inside a sandbox without executing a program there: files and jobs.

Each operation runs in a process of its own that has already dropped to the sandbox's capabilities,
so a symbolic link leads where it would lead the sandbox's own root. Stdlib only. Replies are one
line of JSON on standard output, for a file followed by its bytes.
"""

import errno
import json
import os
import socket
import stat
from collections.abc import Callable
from typing import Any, Final

from rolldock.sandboxd.inside.users import read_small

_BLOCK_BYTES: Final = 1 << 18
_JOB_FILE_BYTES: Final = 4096
_OPEN_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class RefusedError(Exception):
    """Raised when the operation cannot be done as asked; `code` is for the caller, not a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Request = dict[str, Any]
"""A request as sandboxd wrote it; it is trusted, the files are not."""


def _reply(content: dict[str, object]) -> None:
    _write_all(1, json.dumps(content).encode() + b"\n")


def _write_all(descriptor: int, data: bytes | memoryview) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


def _open_regular(path: str) -> tuple[int, int]:
    """A descriptor and the size of a regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        raise RefusedError("not_found", f"{path}: no such file") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError("not_a_file", f"{path}: not a regular file")
    return descriptor, status.st_size


def write_file(request: Request) -> None:
    """Copy standard input into `path`, whose parent directories are made as needed."""
    path = os.path.join("/", request["path"])
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _OPEN_FLAGS
    descriptor = os.open(path, flags, 0o644)
    size = 0
    while block := os.read(0, _BLOCK_BYTES):
        size += _write_all(descriptor, block)
    os.close(descriptor)
    _reply({"size": size})


def download(request: Request) -> None:
    """Write the size and then the whole of `path` to standard output."""
    descriptor, size = _open_regular(os.path.join("/", request["path"]))
    _reply({"size": size})
    while size > 0 and (sent := os.sendfile(1, descriptor, None, min(size, _BLOCK_BYTES))):
        size -= sent


def read_window(request: Request) -> None:
    """Write a window of `path`: `offset` (negative: from the end), `length`, at most `limit`.

    All three are bytes. The reply names total size, offset and length of what follows it.
    """
    descriptor, size = _open_regular(os.path.join("/", request["path"]))
    offset, length, limit = request["offset"], request["length"], request["limit"]
    start = max(0, size + offset) if offset < 0 else offset
    wanted = limit + 1 if length is None else length
    if min(wanted, max(0, size - start)) > limit:
        raise RefusedError("too_large", f"{size} bytes, and at most {limit} are read at once")
    content = bytearray()
    # Files of /proc have size 0 and content all the same: read on until the end.
    while len(content) < min(wanted, limit + 1):
        missing = min(wanted, limit + 1) - len(content)
        block = os.pread(descriptor, min(missing, _BLOCK_BYTES), start + len(content))
        if not block:
            break
        content += block
    if len(content) > limit:
        raise RefusedError("too_large", f"more than {limit} bytes")
    total = max(size, start + len(content) if content else 0)
    _reply({"total": total, "offset": start, "length": len(content)})
    _write_all(1, bytes(content))


def job_states(request: Request) -> None:
    """The state of background jobs: an exit code, "running" or "lost", as the SDK decides it."""
    _reply({"states": {job: _job_state(job) for job in request["jobs"]}})


def _job_state(job: str) -> str:
    exit_file = f"/tmp/job_{job}.exit"
    if recorded := read_small(exit_file, _JOB_FILE_BYTES).strip():
        return recorded
    process = read_small(f"/tmp/job_{job}.launch/pid", _JOB_FILE_BYTES).strip()
    # The command line names the exit file: rules out zombies and reused process ids.
    if process.isdecimal() and exit_file in read_small(f"/proc/{process}/cmdline", 1 << 22):
        return "running"
    # The job writes its exit file just before it ends.
    return read_small(exit_file, _JOB_FILE_BYTES).strip() or "lost"


def listen(request: Request) -> None:
    """Listen on an address of the sandbox and pass the socket over standard output."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((request["host"], request["port"]))
    listener.listen(request["backlog"])
    with socket.socket(fileno=os.dup(1)) as channel:
        socket.send_fds(channel, [b"listening\n"], [listener.fileno()])


OPERATIONS: Final[dict[str, Callable[[Request], None]]] = {
    "write_file": write_file,
    "download": download,
    "read_window": read_window,
    "job_states": job_states,
    "listen": listen,
}


def perform(request: Request) -> tuple[str, str] | None:
    """Do what `request` asks. Returns None, or the code and text of a refusal."""
    try:
        OPERATIONS[request["operation"]](request)
    except RefusedError as refusal:
        return refusal.code, str(refusal)
    except BrokenPipeError:
        return "aborted", "the reader went away"
    except OSError as error:
        code = "is_directory" if error.errno == errno.EISDIR else "failed"
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return code, f"{where}{error.strerror}"
    return None
