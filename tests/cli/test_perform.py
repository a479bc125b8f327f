"""How a program that has a stack of its own is ended from outside."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
from rolldock.cli.perform import perform_in_order

async def main():
    try:
        print("begun", flush=True)
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("ended in order")

perform_in_order(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    """Also where a shell has Ctrl-C ignored: what is open is closed, and the exit code is 130."""
    with subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        program.send_signal(number)
        assert program.stdout.read() == "ended in order\n"
    assert program.returncode == 130
