"""Questions on a real terminal."""

import os
import pty
import subprocess
import sys
from typing import Final

import pytest

PROGRAM: Final = """
import fcntl, termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # of this new session: Ctrl-C comes from it

from rolldock.cli.asking import confirm
from rolldock.cli.perform import perform

async def main():
    print("yes" if confirm("Delete them?") else "no")
    return 0

perform(main())
"""
CTRL_C: Final = b"\x03"
CTRL_D: Final = b"\x04"


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [(b"y\n", 0, b"yes"), (b"n\n", 0, b"no"), (CTRL_C, 130, b""), (CTRL_D, 130, b"")],
)
def test_a_question_is_answered_or_left(typed: bytes, code: int, said: bytes) -> None:
    """Yes, no, and one Ctrl-C or Ctrl-D, which is no defect of ours."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    ) as program:
        os.close(theirs)
        shown = b""
        while b"[y/N]:" not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, typed)
        assert program.stdout is not None
        assert program.stdout.read().strip() == said
    assert program.returncode == code
    os.close(ours)
