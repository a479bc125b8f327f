"""Which ports a stack takes. Only looks: the processes bind them."""

import random
import socket
import time
from collections.abc import Container
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from rolldock.cli.stack.options import Port, StackOptions
from rolldock.errors import UsageError

DEFAULTS: Final = {
    Port.TEMPORAL: 7233,
    Port.TEMPORAL_UI: 8233,
    Port.GATEWAY: 8700,
    Port.SANDBOXD: 8701,
    Port.SCRIPTED: 8702,
}

_PURPOSES: Final = {
    Port.TEMPORAL: "the Temporal server",
    Port.TEMPORAL_UI: "the Temporal UI",
    Port.GATEWAY: "the gateway",
    Port.SANDBOXD: "sandboxd",
    Port.SCRIPTED: "the scripted model server",
}

_LOWEST_FREE: Final = 20000
_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_GRACE_SECONDS: Final = 2.0
"""The processes of a stack that was just killed may hold their ports for a moment."""

_KEPT: Final = TypeAdapter(dict[Port, int])


def choose(options: StackOptions, wanted: tuple[Port, ...], kept: Path) -> dict[Port, int]:
    """The port of each purpose; free ones are written to `kept` and taken again next time.

    Raises:
        UsageError: one that was asked for, or a default, is in use.
    """
    chosen = {} if options.auto_ports else {port: DEFAULTS[port] for port in wanted}
    chosen |= {port: number for port, number in options.ports.items() if port in wanted}
    for port, number in chosen.items():
        if not _becomes_free(number):
            raise UsageError(
                f"port {number} is in use and {_PURPOSES[port]} needs it: end what listens "
                f"there, or give another with --{port}-port PORT or --auto-ports"
            )
    if options.auto_ports:
        chosen = _fill(chosen, wanted, _read(kept))
        kept.write_bytes(_KEPT.dump_json(chosen))
    return chosen


def _fill(
    chosen: dict[Port, int], wanted: tuple[Port, ...], remembered: dict[Port, int]
) -> dict[Port, int]:
    filled = dict(chosen)
    for port in wanted:
        if port in filled:
            continue
        before = remembered.get(port)
        if before is not None and before not in filled.values() and _becomes_free(before):
            filled[port] = before
        else:
            filled[port] = free_port({*filled.values(), *remembered.values()})
    return filled


def _read(kept: Path) -> dict[Port, int]:
    try:
        return _KEPT.validate_json(kept.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}


def free_port(taken: Container[int] = ()) -> int:
    """A port that nobody listens at now, and that is none of those taken.

    Raises:
        UsageError: there is none.
    """
    # Below the ephemeral range: no outgoing connection can take the port while a child restarts.
    try:
        highest = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        highest = 32768
    candidates = [port for port in range(_LOWEST_FREE, highest) if port not in taken]
    random.shuffle(candidates)
    for port in candidates:
        if _is_free(port):
            return port
    raise UsageError(f"no free port from {_LOWEST_FREE} to {highest}: give ports by their flags")


def _becomes_free(port: int) -> bool:
    deadline = time.monotonic() + _GRACE_SECONDS
    while not _is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
