"""The files of checkpoints: a sandbox's upper directory copied, and copied back. Blocking.

    checkpoints/{id}/record.json
    checkpoints/{id}/upper       as the overlay had it: whiteouts and opaque directories included

A copy shares no byte with its source that could change in one and show in the other: files are
copied, or cloned where the file system can (a clone is copied when it is written to). Hard links
are only made among the copied files themselves.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rolldock.errors import RolldockError

_VANISHED: Final = ": No such file or directory"
_ERROR_CHARACTERS: Final = 500
_PRESERVED: Final = "mode,ownership,timestamps,links,xattr"
"""Named one by one: what `cp -a` cannot preserve it leaves out without a word, and without its
attributes an opaque directory would show the host's files."""


class CopyError(RolldockError):
    """Raised when a sandbox's files could not be copied whole."""


def copy_upper(source: Path, target: Path) -> None:
    """Copy an upper directory, which a running sandbox may be changing.

    A file that is removed meanwhile is left out, as if it had been removed before.

    Raises:
        CopyError: something else was not copied; what was is the caller's to remove.
    """
    command = ["cp", "-dR", f"--preserve={_PRESERVED}", "--reflink=auto", "--sparse=auto"]
    done = _run([*command, "--no-target-directory", "--", str(source), str(target)])
    problems = [line for line in done.stderr.splitlines() if not line.endswith(_VANISHED)]
    if done.returncode != 0 and (problems or not done.stderr or not target.is_dir()):
        said = (problems or done.stderr.splitlines() or [f"cp ended with {done.returncode}"])[0]
        raise CopyError(f"its files could not be copied: {said[:_ERROR_CHARACTERS]}")


def count_bytes(directory: Path) -> int:
    """What a directory occupies; 0 where that cannot be told."""
    done = _run(["du", "--summarize", "--block-size=1", "--", str(directory)])
    first = done.stdout.split("\t")[0]
    return int(first) if first.isdecimal() else 0


def check_mount_points(upper: Path, targets: Iterable[str]) -> None:
    """Let an upper directory that a sandbox has written be mounted on.

    bubblewrap makes what it mounts on before the sandbox is closed off, and would follow a link
    that was left there to the host.

    Raises:
        CopyError: a link stands where something is mounted.
    """
    for target in targets:
        path = Path(upper)
        for part in Path(target).parts[1:]:
            path /= part
            try:
                mode = path.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                break
            if stat.S_ISLNK(mode):
                inside = f"/{path.relative_to(upper)}"
                raise CopyError(f"{inside} is a link, and this server mounts {target} there")


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    program = shutil.which(command[0], path="/usr/bin:/bin") or command[0]
    return subprocess.run(
        [program, *command[1:]],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
    )
