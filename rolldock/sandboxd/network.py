"""Which network a sandbox gets, and the program that provides a public one.

The gateway's address inside is the same in every sandbox. Lists of other destinations are not
supported.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Final

from rolldock.errors import RolldockError
from rolldock.sandboxd.processes import ProcessIdentity
from rolldock.sandboxd.records import CreateRequest, Network

GATEWAY_HOST: Final = "127.0.0.64"
GATEWAY_PORT: Final = 41800
"""Where every sandbox finds the gateway."""

HOST_NETWORK_WARNING: Final = (
    "warning: public network without `pasta` on PATH: this sandbox shares the host's network and "
    "reaches every port of this machine; install `passt`, or isolate it (network_allowlist [])"
)

_PROGRAM_TIMEOUT_SECONDS: Final = 10


class NetworkError(RolldockError):
    """Raised when a sandbox's network could not be provided."""


def is_closed(allowlist: tuple[str, ...] | None) -> bool:
    """Whether a list leaves no network beside the gateway, named or not; None is no list."""
    return allowlist is not None and set(allowlist) <= {GATEWAY_HOST}


def network_for(request: CreateRequest) -> Network:
    """The network that a create asks for, as far as this machine can give it."""
    if is_closed(request.network_allowlist):
        return Network.NONE
    return Network.HOST if shutil.which("pasta") is None else Network.PASTA


async def start_pasta(pid: int, directory: Path) -> ProcessIdentity:
    """Connect the network namespace of `pid` to the outside. Files go into `directory`.

    Raises:
        NetworkError: pasta failed.
    """
    pid_file, namespace = directory / "pasta.pid", directory / "netns"
    options = ["--config-net", "--no-map-gw", "--quiet", "--pid", str(pid_file)]
    for forwarding in ("-t", "-u", "-T", "-U"):
        options += [forwarding, "none"]
    # It gives up root by default, and then could not write its file.
    options += ["--runas", "0", "--netns-only", "--netns", str(namespace)]
    # pasta drops the capability to look into processes first: it gets the namespace as a file.
    await asyncio.to_thread(namespace.touch)
    await _run("mount", "--bind", f"/proc/{pid}/ns/net", str(namespace))
    try:
        await _run("pasta", *options)
        return ProcessIdentity.of(int(await asyncio.to_thread(pid_file.read_text)))
    except (OSError, ValueError) as error:
        raise NetworkError(f"pasta: ended at once ({error})") from error
    finally:
        await _run("umount", "--lazy", str(namespace))


async def _run(program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_PROGRAM_TIMEOUT_SECONDS):
            _, errors = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            message = f"{program}: not done after {_PROGRAM_TIMEOUT_SECONDS} s"
            raise NetworkError(message) from error
        raise
    if process.returncode != 0:
        raise NetworkError(f"{program}: {' '.join(errors.decode(errors='replace').split())}")


def stop_pasta(identity: ProcessIdentity) -> None:
    """End the pasta of a sandbox; nothing happens if it is gone."""
    descriptor = identity.open()
    if descriptor is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
