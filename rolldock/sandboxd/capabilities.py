"""What root may do inside a sandbox: one constant, for the first process and for every later one.

It is Docker's default set without MKNOD and NET_RAW. Stdlib only: the fork server loads it.
"""

from typing import Final

CAPABILITIES: Final[dict[str, int]] = {
    "chown": 0,
    "dac_override": 1,
    "fowner": 3,
    "fsetid": 4,
    "kill": 5,
    "setgid": 6,
    "setuid": 7,
    "setpcap": 8,
    "net_bind_service": 10,
    "sys_chroot": 18,
    "audit_write": 29,
    "setfcap": 31,
}
"""Name without CAP_, and the kernel's number."""

CAPABILITY_MASK: Final = sum(1 << number for number in CAPABILITIES.values())
