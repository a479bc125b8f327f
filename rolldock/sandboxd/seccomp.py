"""The system calls that no process of a sandbox may make, as a classic BPF program.

Capabilities already refuse most of them; the filter closes what they leave open to anybody: new
user namespaces (and with them every capability over new namespaces), the kernel's keyrings, which
no namespace separates, and rarely used doors into the kernel. It is no allow list.
"""

import platform
import struct
from typing import Final

_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | 1
"""Fails with EPERM."""
_ABSENT: Final = 0x00050000 | 38
"""Fails with ENOSYS, so that libc falls back: clone3 hides its flags from filters."""

_NAMESPACE_FLAGS: Final = 0x7E020080
"""Every CLONE_NEW* flag."""
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_FIRST_ARGUMENT = 0, 4, 16
_X32_BIT: Final = 0x40000000

_NEW_MOUNT_CALLS: Final = (428, 429, 430, 431, 432, 433, 442)
"""open_tree to fspick, mount_setattr: the same numbers on every architecture."""
_CLONE3: Final = 435

# audit architecture; clone, unshare; mount, umount2, pivot_root, setns, add_key, request_key,
# keyctl, bpf, perf_event_open, userfaultfd, open_by_handle_at, kexec_load, kexec_file_load,
# init_module, finit_module, delete_module.
_TABLES: Final[dict[str, tuple[int, tuple[int, int], tuple[int, ...]]]] = {
    "x86_64": (
        0xC000003E,
        (56, 272),
        (165, 166, 155, 308, 248, 249, 250, 321, 298, 323, 304, 246, 320, 175, 313, 176),
    ),
    "aarch64": (
        0xC00000B7,
        (220, 97),
        (40, 39, 41, 268, 217, 218, 219, 280, 241, 282, 265, 104, 294, 105, 273, 106),
    ),
}


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def is_supported() -> bool:
    """Whether the filter knows this machine's system call numbers."""
    return platform.machine() in _TABLES


def filter_program() -> bytes:
    """The program for this machine, 8 bytes an instruction, as bwrap and prctl take it."""
    architecture, flagged, refused = _TABLES[platform.machine()]
    lines = [
        _instruction(_LOAD_WORD, _OFFSET_ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture, if_true=1),
        _instruction(_RETURN, _ABSENT),
        _instruction(_LOAD_WORD, _OFFSET_NUMBER),
        _instruction(_JUMP_AT_LEAST, _X32_BIT, if_false=1),
        _instruction(_RETURN, _ABSENT),
        _instruction(_JUMP_EQUAL, _CLONE3, if_false=1),
        _instruction(_RETURN, _ABSENT),
    ]
    for number in (*refused, *_NEW_MOUNT_CALLS):
        lines += [_instruction(_JUMP_EQUAL, number, if_false=1), _instruction(_RETURN, _REFUSE)]
    clone, unshare = flagged
    lines += [
        _instruction(_JUMP_EQUAL, clone, if_true=1),
        _instruction(_JUMP_EQUAL, unshare, if_false=3),
        _instruction(_LOAD_WORD, _OFFSET_FIRST_ARGUMENT),
        _instruction(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, if_false=1),
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(lines)
