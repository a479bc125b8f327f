"""Booting one sandbox: bubblewrap's command line, and the wait until its mounts are ready.

Nothing may enter before the readiness line: bubblewrap reports its child while that still sees the
host's root. It does not decide what a sandbox sees; that is `rootfs.py`.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from rolldock.errors import RolldockError
from rolldock.sandboxd.capabilities import CAPABILITIES
from rolldock.sandboxd.cgroups import Group
from rolldock.sandboxd.live import FirstProcess
from rolldock.sandboxd.machine import bwrap_path
from rolldock.sandboxd.pipes import PipeReader, read_line
from rolldock.sandboxd.processes import ProcessIdentity, kill_marked
from rolldock.sandboxd.rootfs import RootPlan
from rolldock.sandboxd.seccomp import filter_program

BOOT_TIMEOUT_SECONDS: Final = 20
_READY: Final = b"ready"
_SETPRIV: Final = "/usr/bin/setpriv"

# Ignoring SIGCHLD makes the kernel reap orphans, so a bare `sleep` will do as process 1.
_FIRST_PROCESS: Final = (
    'for fd; do echo 0 >&"$fd" || exit; eval "exec $fd>&-"; done; '
    f"trap '' CHLD; echo {_READY.decode()}; exec sleep infinity </dev/null >/dev/null 2>&1"
)
"""Its arguments are descriptors of its groups, into which it moves itself before anything else."""

_READ_ONLY_PROC: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""What root may write by its uid alone, whatever its capabilities; each would change the host."""

_EMPTY_PROC: Final = (
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/mtrr",
    "/proc/timer_list",
)
_EMPTY_PROC_DIRECTORIES: Final = ("/proc/acpi", "/proc/asound", "/proc/driver", "/proc/scsi")
_READ_ONLY_SYS: Final = ("/sys/devices/system/cpu", "/sys/devices/system/node")
"""What libraries read to size their thread pools."""

_ENVIRONMENT_MARKER: Final = "ROLLDOCK_SANDBOX"


class BootError(RolldockError):
    """Raised when a sandbox did not come up; the message is bubblewrap's last line."""


class BootRequest(NamedTuple):
    """What differs between sandboxes."""

    sandbox_id: str
    hostname: str
    upper: Path
    work: Path
    group: Group
    host_network: bool
    restored: bool
    """Its files are a sandbox's own, and so are the programs of its first process."""


def mount_points(plan: RootPlan) -> tuple[str, ...]:
    """Where a sandbox's root is mounted on."""
    return ("/proc", "/dev", *_READ_ONLY_SYS, *(mount.target for mount in plan.mounts))


def marker(sandbox_id: str) -> bytes:
    """In the environment of bwrap and of process 1: finds a sandbox that was never recorded."""
    return f"{_ENVIRONMENT_MARKER}={sandbox_id}".encode()


def _existing(paths: tuple[str, ...]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]


def _arguments(request: BootRequest, plan: RootPlan, seccomp_descriptor: int) -> list[str]:
    arguments = ["--overlay-src", "/", "--overlay", str(request.upper), str(request.work), "/"]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for path in (*_existing(_READ_ONLY_PROC), *_existing(_READ_ONLY_SYS)):
        arguments += ["--ro-bind", path, path]
    for path in _existing(_EMPTY_PROC):
        arguments += ["--ro-bind", "/dev/null", path]
    for path in _existing(_EMPTY_PROC_DIRECTORIES):
        arguments += ["--tmpfs", path, "--remount-ro", path]
    for mount in plan.mounts:
        arguments += ["--ro-bind", str(mount.source), mount.target]
    arguments += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += [] if request.host_network else ["--unshare-net"]
    arguments += ["--hostname", request.hostname, "--new-session", "--as-pid-1", "--clearenv"]
    # In the environment of process 1: killing only bwrap itself would leave the sandbox running.
    arguments += ["--setenv", _ENVIRONMENT_MARKER, request.sandbox_id]
    arguments += ["--setenv", "PATH", plan.path, "--chdir", "/"]
    arguments += ["--seccomp", str(seccomp_descriptor), "--cap-drop", "ALL"]
    for name in CAPABILITIES:
        arguments += ["--cap-add", f"CAP_{name.upper()}"]
    return arguments


def _payload(entries: list[int]) -> list[str]:
    # bwrap leaves the bounding set alone, and hands capabilities over as ambient ones.
    bounding = ",".join(["-all", *(f"+{name}" for name in CAPABILITIES)])
    drop = [f"--bounding-set={bounding}", "--inh-caps=-all", "--ambient-caps=-all"]
    return [_SETPRIV, *drop, "/bin/bash", "-c", _FIRST_PROCESS, "bash", *map(str, entries)]


def _memory_file(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _launch(
    request: BootRequest, plan: RootPlan, info: int, ready: int, errors: int
) -> subprocess.Popen[bytes]:
    seccomp = _memory_file("seccomp", filter_program())
    arguments = _arguments(request, plan, seccomp)
    # Over a descriptor: the command line is what the sandbox reads in /proc/1/cmdline at first.
    options = _memory_file("arguments", b"".join(text.encode() + b"\0" for text in arguments))
    entries: list[int] = []
    try:
        entries = request.group.open_entries()
        return subprocess.Popen(
            ["bwrap", "--args", str(options), "--info-fd", str(info), "--", *_payload(entries)],
            executable=bwrap_path(),
            stdin=subprocess.DEVNULL,
            stdout=ready,
            stderr=errors,
            cwd="/",
            env={_ENVIRONMENT_MARKER: request.sandbox_id},
            pass_fds=[options, info, seccomp, *entries],
            start_new_session=True,
        )
    finally:
        for descriptor in (options, seccomp, *entries):
            os.close(descriptor)


async def boot(request: BootRequest, plan: RootPlan) -> FirstProcess:
    """Start a sandbox and wait until it may be entered.

    Raises:
        BootError: bubblewrap failed or was too slow; nothing of it is left running.
    """
    readers: list[PipeReader] = []
    writers: list[int] = []
    for _ in range(3):
        read_end, write_end = os.pipe()
        readers.append(PipeReader(read_end))
        writers.append(write_end)
    ready, info, errors = readers
    try:
        try:
            launcher = _launch(request, plan, info=writers[1], ready=writers[0], errors=writers[2])
        finally:
            for descriptor in writers:
                os.close(descriptor)
        try:
            async with asyncio.timeout(BOOT_TIMEOUT_SECONDS):
                return await _await_ready(launcher, ready, info, errors, request)
        except BaseException as error:
            await asyncio.to_thread(_discard, launcher, request.sandbox_id)
            if isinstance(error, TimeoutError):
                message = f"no sandbox after {BOOT_TIMEOUT_SECONDS} s"
                raise BootError(message) from error
            raise
    finally:
        for reader in readers:
            reader.close()


async def _await_ready(
    launcher: subprocess.Popen[bytes],
    ready: PipeReader,
    info: PipeReader,
    errors: PipeReader,
    request: BootRequest,
) -> FirstProcess:
    report = b""
    while data := await info.read():
        report += data
    if not report:
        raise BootError(await _last_line(errors))
    pid = int(json.loads(report)["child-pid"])
    # Programs that a sandbox brought along are not trusted to enter their groups by themselves.
    alone = request.group.is_entered_alone and not request.restored
    line = await _await_line(ready) if alone else await _add(request.group, pid, ready)
    if line != _READY:
        raise BootError(await _last_line(errors))
    try:
        pidfd = os.pidfd_open(pid)
        return FirstProcess(ProcessIdentity.of(pid), pidfd, launcher)
    except OSError as error:
        raise BootError("its first process ended at once") from error


async def _await_line(ready: PipeReader) -> bytes:
    line, _ = await read_line(ready)
    return line


async def _add(group: Group, pid: int, ready: PipeReader) -> bytes:
    """Move the first process while it mounts: that may take as long as all of its boot."""
    moving = asyncio.create_task(asyncio.to_thread(group.add, pid))
    try:
        return await _await_line(ready)
    finally:
        await moving


async def _last_line(errors: PipeReader) -> str:
    text = b""
    while data := await errors.read():
        text += data
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "bubblewrap ended without a word"


def _discard(launcher: subprocess.Popen[bytes], sandbox_id: str) -> None:
    kill_marked(marker(sandbox_id))
    with contextlib.suppress(ProcessLookupError):
        launcher.send_signal(signal.SIGKILL)
    launcher.wait()
