"""Running a command's action: its errors become one line, its end an exit code."""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Coroutine
from types import FrameType
from typing import Final, NoReturn

import typer

from rolldock.cli.text import plain
from rolldock.errors import RolldockError, UnavailableError, UsageError

FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130

_TRACEBACK_VARIABLE: Final = "ROLLDOCK_TRACEBACK"


def perform(action: Coroutine[object, object, int]) -> NoReturn:
    """Run it to its end and leave the process.

    Exit code 2 when the caller or an operator has to mend something, 1 for another failure, 130
    for Ctrl-C, else the action's own.
    """
    leave(_code_of(action))


def perform_in_order(action: Coroutine[object, object, int]) -> NoReturn:
    """As `perform`, for what has a stack of its own: also SIGTERM ends it as Ctrl-C does.

    Ctrl-C also where a shell has had it ignored, as shells do for what they start with `&`.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _press_ctrl_c)
    perform(action)


def _press_ctrl_c(_: int, __: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def leave(code: int) -> NoReturn:
    """End the process without tearing the interpreter down.

    Temporal's client keeps native threads that enter Python while it is finalized: one end in
    forty was a segmentation fault (temporalio/sdk-python issue 300). Nothing is left to tear down:
    the action has closed what it opened.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or FAILED
    os._exit(code)


def complain(message: str) -> None:
    """One line on stderr."""
    typer.echo(f"rolldock: {plain(' '.join(message.split()))}", err=True)


def _code_of(action: Coroutine[object, object, int]) -> int:
    try:
        # asyncio makes a cancellation of Ctrl-C only where Python's own handler is in place.
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return asyncio.run(action)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except RolldockError as error:
        complain(str(error))
        return WRONG_USAGE if isinstance(error, UsageError | UnavailableError) else FAILED
    except BrokenPipeError:
        return FAILED
    except PermissionError as error:
        complain(
            f"{error.filename}: {error.strerror}: run this as the user whose files these are, or "
            "set ROLLDOCK_HOME and ROLLDOCK_AGENT_CACHE to directories that you can write"
        )
        return WRONG_USAGE
    except Exception as error:  # the one capture point of the command: a defect of ours
        if os.environ.get(_TRACEBACK_VARIABLE):
            traceback.print_exc()
        complain(
            f"internal error: {type(error).__name__}: {error}; {_TRACEBACK_VARIABLE}=1 shows where"
        )
        return FAILED
