"""The `rolldock` command: every subcommand by its name.

Loads neither Temporal nor a contract: `rolldock --help` must not take a second.
"""

import io
import signal
import sys


def main() -> None:
    """The console script."""
    # Until `perform` takes it back: Ctrl-C among the imports ends the command, no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal has no character for is written out; nothing ends for it.
            stream.reconfigure(errors="backslashreplace")
    from rolldock.cli.commands.app import app

    app()
