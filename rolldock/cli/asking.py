"""Questions to whoever sits at the terminal, before something big."""

import signal

import typer


def confirm(question: str) -> bool:
    """Whether the answer is yes.

    Raises:
        typer.Abort: Ctrl-C or Ctrl-D.
    """
    # asyncio's handler only marks the task, which does not run while the answer is waited for.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question, err=True)
    finally:
        signal.signal(signal.SIGINT, before)
