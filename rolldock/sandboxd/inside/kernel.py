"""The system calls that Python 3.11 does not offer: setns, prctl, capset, clone3. No policy."""

import ctypes
import os
import signal
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_SECCOMP_MODE_FILTER: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_SYS_CLONE3: Final = 435
"""The same number on every architecture."""
_CLONE_INTO_CGROUP: Final = 0x200000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_clone = ctypes.PyDLL(None, use_errno=True).syscall
"""Called with the interpreter's lock held: both sides return with it."""


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class _CloneArguments(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack"),
            *("stack_size", "tls", "set_tid", "set_tid_size", "cgroup"),
        )
    )


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def set_namespaces(pidfd: int, flags: int) -> None:
    """Enter namespaces of the process behind `pidfd`, all or none of them."""
    _check(_libc.setns(pidfd, flags), "setns")


def fork_into(group: int) -> int:
    """Like os.fork(), but the child begins in the cgroup (version 2) behind a descriptor."""
    arguments = _CloneArguments(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=group)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _clone(_SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    _check(min(pid, 0), "clone3")
    return pid


def forbid_inspection() -> None:
    """Make this process and its forks unreadable and untraceable until they execute a program."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def bound_to(capabilities: int, last_capability: int) -> None:
    """Let no program that this process or a fork executes have more than `capabilities`.

    A bit mask. What the process itself may do until then stays.
    """
    for number in range(last_capability + 1):
        if not capabilities >> number & 1:
            _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl(PR_CAPBSET_DROP)")
    clear = (_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _check(_libc.prctl(*clear), "prctl(PR_CAP_AMBIENT)")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def drop_to(capabilities: int, seccomp_program: bytes) -> None:
    """Keep `capabilities` and nothing else from now on, and install the filter."""
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    words = (capabilities & 0xFFFFFFFF, capabilities >> 32)
    data = (_CapData * 2)(*(_CapData(word, word, 0) for word in words))
    _check(_libc.capset(ctypes.byref(header), data), "capset")
    program = _FilterProgram(len(seccomp_program) // 8, seccomp_program)
    address = ctypes.addressof(program)
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0), "prctl(SECCOMP)")
