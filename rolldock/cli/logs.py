"""`rolldock logs`: what an agent and its tests wrote, of an ended rollout or a running one.

Shown as text with its control characters written out: what an agent prints is never obeyed.
"""

import sys
from contextlib import aclosing

import typer

from rolldock.cli.connection import connected
from rolldock.cli.console import number, seconds
from rolldock.cli.perform import complain
from rolldock.cli.text import plain
from rolldock.models.result import RolloutResult
from rolldock.trainer.logs import LogNote
from rolldock.trainer.reading import LogQuery


async def logs(rollout: str, query: LogQuery, *, as_json: bool) -> int:
    """Print logs as they come; with several, a headline before each, as `tail` does.

    Raises:
        UsageError: there is no such rollout, attempt or log.
    """
    printed = _Printed(headlines=query.name is None)
    async with connected() as client, aclosing(client.logs(rollout, query)) as pieces:
        async for piece in pieces:
            if isinstance(piece, LogNote):
                complain(piece.text)
            elif as_json:
                typer.echo(piece.model_dump_json())
            else:
                printed.text(piece.name, piece.text, is_cut=piece.is_cut)
            sys.stdout.flush()
        result = await client.handle(rollout).stored() if query.follow else None
    printed.end()
    if printed.nothing and not as_json:
        complain("no output was written")
    if result is not None:
        complain(_verdict(result))
    return 0


class _Printed:
    """What stands on stdout already."""

    def __init__(self, *, headlines: bool) -> None:
        self._headlines = headlines
        self._name: str | None = None
        self._in_a_line = False

    def text(self, name: str, text: str, *, is_cut: bool) -> None:
        """Print a piece of a log; one that was begun goes on where it was."""
        if name != self._name:
            self._begin(name, is_cut=is_cut)
        typer.echo(plain(text), nl=False)
        self._in_a_line = text != "" and not text.endswith("\n")

    @property
    def nothing(self) -> bool:
        """Whether no log was printed."""
        return self._name is None

    def end(self) -> None:
        """End the line that is open."""
        if self._in_a_line:
            typer.echo()
        self._in_a_line = False

    def _begin(self, name: str, *, is_cut: bool) -> None:
        first = self._name is None
        self._name = name
        if self._headlines:
            self.end()
            cut = " (its end)" if is_cut else ""
            typer.echo(f"{'' if first else chr(10)}==> {plain(name)}{cut} <==")


def _verdict(result: RolloutResult) -> str:
    took = seconds(result.timings.get("total"))
    if result.failure is not None:
        failed = result.failure
        return f"{result.status}: {failed.cause} in {failed.stage} after {took} s: {failed.message}"
    return f"{result.status}: reward {number(result.reward)}, {result.stop_reason}, {took} s"
