"""The fork server: for each request it forks, enters the sandbox, drops privileges and runs.

    sandboxd ── request (descriptors only) ──▶ server ── fork ──▶ keeper ── fork ──▶ the command
                                                                 waits, signals      in the sandbox

The keeper is in the sandbox's namespaces except its process namespace, so the sandbox cannot see
or reach it. It is not in the sandbox's group: limits are not meant for it, and it must not die of
them. The command is in it before it does anything. The keeper executes nothing. The server parses
nothing of a request: a request that is wrong ends its own keeper. When sandboxd goes away the
server ends and running commands stay.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import warnings
from typing import Any, Final, NoReturn

from rolldock.sandboxd.capabilities import CAPABILITY_MASK
from rolldock.sandboxd.inside import kernel
from rolldock.sandboxd.inside.operations import perform
from rolldock.sandboxd.inside.users import ROOT, UnknownUserError, User, find_user
from rolldock.sandboxd.seccomp import filter_program

_NAMESPACES: Final = (
    kernel.CLONE_NEWPID
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWNS
)
_MESSAGE_BYTES: Final = 16
_N_DESCRIPTORS: Final = 6
"""Payload, sandbox (a pidfd), status socket, standard input, output, error."""
_SIGNALS: Final = {b"T": signal.SIGTERM, b"K": signal.SIGKILL}
_PRELOADED: Final = (warnings,)
"""os.execvpe imports it late."""


class _Context:
    """What is looked up once, before any fork: each fork pays for what it touches."""

    def __init__(self) -> None:
        self.seccomp = filter_program()
        settable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        self.changed_signals = tuple(
            number for number in settable if signal.getsignal(number) != signal.SIG_DFL
        )


def main() -> None:
    """Serve requests on the socket whose number is the only argument."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    with open("/proc/sys/kernel/cap_last_cap") as text:
        kernel.bound_to(CAPABILITY_MASK, int(text.read()))
    kernel.forbid_inspection()
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    context = _Context()
    gc.disable()
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE_BYTES, _N_DESCRIPTORS)
        if not message:
            return
        if len(descriptors) == _N_DESCRIPTORS and os.fork() == 0:
            requests.close()
            _keep(context, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(context: _Context, descriptors: list[int]) -> NoReturn:
    """The keeper: start the command in the sandbox, pass signals to it, report how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    payload, sandbox, status, *streams = descriptors
    channel = socket.socket(fileno=status)
    code = 1
    try:
        with open(payload, "rb") as text:
            request = json.loads(text.read())
        namespaces = _NAMESPACES & ~(kernel.CLONE_NEWNET if request["host_network"] else 0)
        # By their paths out here, before these are gone.
        groups = _Groups(request["groups"])
        kernel.set_namespaces(sandbox, namespaces)
        if (child := groups.fork(sandbox)) == 0:
            _run(context, request, channel, streams)
        for descriptor in (sandbox, *streams, *groups.descriptors):
            os.close(descriptor)
        _say(channel, {"child": child})
        _say(channel, {"exit": _wait(child, channel)})
        code = 0
    except OSError as error:
        _say(channel, {"refused": "not_running", "message": f"cannot enter: {error.strerror}"})
    finally:
        os._exit(code)


class _Groups:
    """The groups of the sandbox, opened while their paths are there."""

    def __init__(self, entries: list[dict[str, str]]) -> None:
        directories = [it["unified"] for it in entries if "unified" in it]
        self._births = [os.open(path, os.O_RDONLY) for path in directories]
        self._moves = [os.open(f"{path}/cgroup.procs", os.O_WRONLY) for path in directories]
        self._tasks = [os.open(it["tasks"], os.O_WRONLY) for it in entries if "tasks" in it]

    @property
    def descriptors(self) -> list[int]:
        """All that is open."""
        return [*self._births, *self._moves, *self._tasks]

    def fork(self, sandbox: int) -> int:
        """Like os.fork(), but the child is in the groups and in their namespace."""
        missing = self._tasks
        try:
            child = kernel.fork_into(self._births[0]) if self._births else os.fork()
        except BlockingIOError:
            # Nobody is born in a full group, but who comes from outside may exceed its limit.
            missing = [*self._moves, *self._tasks]
            child = os.fork()
        if child == 0:
            try:
                for file in missing:
                    os.write(file, b"0")
                # Not before: from within it, groups outside may be out of reach.
                kernel.set_namespaces(sandbox, kernel.CLONE_NEWCGROUP)
            except OSError:
                os._exit(1)
        return child


def _say(channel: socket.socket, content: dict[str, object]) -> None:
    # sandboxd may be gone; the command runs on without it.
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(content).encode() + b"\n")


def _wait(child: int, channel: socket.socket) -> int:
    """The exit code of `child`, 128 + n after signal n; signals from the channel go to its group.

    The child is not reaped before this returns, so its number cannot belong to another process.
    """
    ended = os.pidfd_open(child)
    sources: list[int] = [ended, channel.fileno()]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if ended in ready:
            break
        try:
            order = channel.recv(1)
        except OSError:
            order = b""
        if not order:
            # sandboxd is gone; the command runs on, and nobody asks how it ends.
            sources.remove(channel.fileno())
        elif order in _SIGNALS:
            _signal_group(child, _SIGNALS[order])
    result = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return result if result >= 0 else 128 - result


def _signal_group(child: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
        os.killpg(child, number)


def _run(
    context: _Context, request: dict[str, Any], channel: socket.socket, streams: list[int]
) -> NoReturn:
    """The process in the sandbox: becomes the command, or does a built-in operation."""
    code = 1
    try:
        os.setsid()
        _take_streams(channel, streams)
        _reset_signals(context)
        os.umask(0o022)
        kernel.drop_to(CAPABILITY_MASK, context.seccomp)
        act = _operate if "operation" in request else _execute
        code = act(request, channel)
    finally:
        os._exit(code)


def _take_streams(channel: socket.socket, streams: list[int]) -> None:
    """Put the streams on 0, 1 and 2 and leave nothing else open but the channel."""
    # Above 2 first: a descriptor that is itself 0 to 2 would be overwritten by its neighbour.
    raised = [os.dup(descriptor) for descriptor in streams]
    for number, descriptor in enumerate(raised):
        os.dup2(descriptor, number)
    keep = channel.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, 256)
    os.set_inheritable(keep, False)


def _reset_signals(context: _Context) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in context.changed_signals:
        signal.signal(number, signal.SIG_DFL)


def _operate(request: dict[str, Any], channel: socket.socket) -> int:
    # An operation reports a reader that went away; a command dies of it, as everywhere.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _say(channel, {"start": os.getpid()})
    refusal = perform(request)
    if refusal is None:
        return 0
    _say(channel, {"refused": refusal[0], "message": refusal[1]})
    return 1


def _become(user: User) -> None:
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


def _execute(request: dict[str, Any], channel: socket.socket) -> int:
    name: str | None = request["user"]
    try:
        user = ROOT if name is None else find_user(name)
        _become(user)
        os.chdir(request["directory"])
    except UnknownUserError:
        _refuse(channel, f"no user {name!r} in the sandbox")
        return 1
    except OSError as error:
        _refuse(channel, f"working directory {request['directory']}: {error.strerror}")
        return 1
    home = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    environment: dict[str, str] = {**home, **request["environment"]}
    _say(channel, {"start": os.getpid()})
    try:
        os.execvpe(request["arguments"][0], request["arguments"], environment)
    except OSError as error:
        os.write(2, f"{request['arguments'][0]}: {error.strerror}\n".encode())
        return 127 if isinstance(error, FileNotFoundError) else 126


def _refuse(channel: socket.socket, message: str) -> None:
    _say(channel, {"refused": "invalid_argument", "message": message})


if __name__ == "__main__":
    main()
