"""Lock files: one process at a time has what a file stands for. Waits for nobody."""

import fcntl
import os
from pathlib import Path


def lock(path: Path) -> int | None:
    """Lock a file for this process, made for its owner alone if it is not there.

    Returns:
        The descriptor that holds it until it is closed; None: another process has it.

    Raises:
        OSError: the file cannot be made or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
