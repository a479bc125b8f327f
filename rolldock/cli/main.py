"""The `rolldock` command: every subcommand by its name.

Loads neither Temporal nor a contract: `rolldock --help` must not take a second.
"""

import signal


def main() -> None:
    """The console script."""
    # Until `perform` takes it back: Ctrl-C among the imports ends the command, no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rolldock.cli.commands.app import app

    app()
