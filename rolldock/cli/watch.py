"""`rolldock watch`: a live board of the open rollouts and of those that ended last.

Shows a page of rows, however many there are; what it costs to look is `rolldock/trainer/board.py`'s
business.
"""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from temporalio.service import RPCError

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, console, number, seconds, table
from rolldock.cli.filters import Filters
from rolldock.cli.text import plain
from rolldock.errors import UnavailableError, UsageError
from rolldock.models.result import IndexEntry
from rolldock.trainer.board import Board, Lookout, OpenRollout

_REFRESH_SECONDS: Final = 2.0
_ROWS: Final = 20
"""Open rollouts on the board, and so many questions a look."""
_FRAME_LINES: Final = 12
"""Of the board around its rows: counts, headlines, the footer."""
_PROBLEM_CHARACTERS: Final = 100
_QUIT: Final = b"q"
_KEYS_BYTES: Final = 64


async def watch(filters: Filters, *, once: bool = False, as_json: bool = False) -> int:
    """Show the board until q or Ctrl-C; on a pipe, with `once` or as JSON a single look.

    Raises:
        UsageError: a filter names what there is not.
        UnavailableError: Temporal or the store does not answer the first look.
    """
    live, ended = filters.running(), filters.ended()
    if live is None or ended is None:
        raise UsageError("watch shows running rollouts and ended ones: leave out that filter")
    out = console()
    async with connected() as client, client.index() as index:
        lookout = Lookout(client, index, live, ended, _rows(out))
        board = await lookout.look()
        if as_json:
            typer.echo(board.model_dump_json())
        elif once or not out.is_terminal:
            out.print(_drawn(board))
        else:
            await _show(out, lookout, board)
    return 0


def _rows(out: Console) -> int:
    """As many open and as many ended rollouts as fit the terminal."""
    return max(3, min(_ROWS, (out.height - _FRAME_LINES) // 2)) if out.is_terminal else _ROWS


async def _show(out: Console, lookout: Lookout, board: Board) -> None:
    quitting = asyncio.Event()
    with _keys(quitting), Live(_drawn(board), console=out, auto_refresh=False, screen=True) as live:
        while not quitting.is_set():
            live.update(_drawn(board), refresh=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(quitting.wait(), _REFRESH_SECONDS)
            try:
                board = board if quitting.is_set() else await lookout.look()
            except (RPCError, UnavailableError) as error:
                # Of a server that is restarted: the board stands still and says why.
                said = getattr(error, "message", str(error))
                live.update(Group(_drawn(board), Text(plain(f"no answer: {said}"))), refresh=True)
    out.print(_drawn(board))


@contextmanager
def _keys(quitting: asyncio.Event) -> Generator[None, None, None]:
    """q and Ctrl-C end the board, which is no failure."""
    loop, keyboard = asyncio.get_running_loop(), sys.stdin
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, quitting.set)
    restore = termios.tcgetattr(keyboard) if keyboard.isatty() else None
    try:
        if restore is not None:
            tty.setcbreak(keyboard)
            loop.add_reader(keyboard, lambda: _pressed(quitting))
        yield
    finally:
        if restore is not None:
            loop.remove_reader(keyboard)
            termios.tcsetattr(keyboard, termios.TCSADRAIN, restore)
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def _pressed(quitting: asyncio.Event) -> None:
    keys = os.read(sys.stdin.fileno(), _KEYS_BYTES)
    # Nothing at all: the terminal is gone.
    if _QUIT in keys or not keys:
        quitting.set()


def _drawn(board: Board) -> Group:
    counts = "   ".join(f"{stage} {n:,}" for stage, n in board.stages.items())
    parts: list[Text | Table] = [
        Text(f"{board.n_open:,} open   {counts}   {board.n_ended:,} ended"),
        Text(f"{board.at:%Y-%m-%d %H:%M:%S} UTC"),
        Text(),
        _open_table(board),
        Text(),
        _ended_table(board.ended),
    ]
    return Group(*parts)


def _open_table(board: Board) -> Table:
    made = table(("open", "stage", "age", "tries", "problem"), numbers=("age", "tries"))
    for rollout in board.rollouts:
        age = (board.at - rollout.started_at).total_seconds()
        made.add_row(
            *cells(rollout.id, rollout.stage, seconds(age), rollout.tries, _problem(rollout))
        )
    more = board.n_open - len(board.rollouts)
    if more > 0:
        made.add_row(*cells(f"and {more:,} more", "", "", "", ""))
    return made


def _problem(rollout: OpenRollout) -> str:
    said = " ".join((rollout.problem or "").split())
    return said if len(said) <= _PROBLEM_CHARACTERS else f"{said[:_PROBLEM_CHARACTERS]}..."


def _ended_table(ended: tuple[IndexEntry, ...]) -> Table:
    made = table(("ended", "status", "reward", "why", "seconds"), numbers=("reward", "seconds"))
    for entry in ended:
        made.add_row(
            *cells(entry.rollout, entry.status, number(entry.reward)),
            *cells(entry.cause or entry.stop_reason, seconds(entry.seconds)),
        )
    return made
