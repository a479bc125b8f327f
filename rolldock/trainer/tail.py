"""The ends of files in a sandbox that grow, read piece by piece by the SDK's own read-file."""

from collections.abc import AsyncIterator
from typing import Final

from prime_sandboxes import APIError, ReadFileResponse

from rolldock.errors import UsageError
from rolldock.models.base import Contract
from rolldock.models.failure import Cause
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.ending import agent_logs
from rolldock.sandbox.faults import is_absent_file, sandbox_faults
from rolldock.sandbox.jobs import job_id

AGENT_LOGS: Final = ("agent-stdout.log", "agent-stderr.log")
VERIFIER_LOG: Final = "verifier/test-stdout.txt"
_DIRECTORIES: Final = ("agent", "verifier", "artifacts")
_TAIL_BYTES: Final = 64 * 1024
"""Shown of what a file had before anybody looked."""
_PIECE_BYTES: Final = 1024 * 1024
_LONGEST_CHARACTER: Final = 4
"""Bytes of UTF-8."""


class LogText(Contract):
    """A piece of one log, in order."""

    name: str
    """As among a result's artifacts."""
    text: str
    """What is not UTF-8 is replaced."""
    is_cut: bool = False
    """What stood before it in the file is not shown."""


class Tails:
    """The logs of one attempt in its sandbox, each read up to somewhere.

    Args:
        name: the one log that is wanted; None: the agent's output and the verifier's.

    Raises:
        UsageError: no log can have this name.
    """

    def __init__(
        self, sandboxes: Sandboxes, sandbox_id: str, attempt: str, name: str | None
    ) -> None:
        self.attempt = attempt
        self._sandboxes = sandboxes
        self._sandbox_id = sandbox_id
        names = (*AGENT_LOGS, VERIFIER_LOG) if name is None else (name,)
        self._paths = {name: _path(name, attempt) for name in names}
        self._offsets: dict[str, int] = {}

    def n_read(self, name: str) -> int:
        """Up to which byte a log was read."""
        return self._offsets.get(name, 0)

    async def read(self) -> AsyncIterator[LogText]:
        """What is new in each log; the first time their ends.

        Raises:
            StageError: the sandbox is gone, or out of reach.
        """
        for name in self._paths:
            while (piece := await self._next(name)) is not None:
                yield piece

    async def _next(self, name: str) -> LogText | None:
        begun = name in self._offsets
        offset = self._offsets[name] if begun else -_TAIL_BYTES
        window = await self._window(name, offset, _PIECE_BYTES)
        if window is None or window.size == 0 or window.offset is None:
            return None
        size, text = window.size, window.content
        for _ in range(1, _LONGEST_CHARACTER):
            # A character whose last bytes are not written yet waits for them.
            if not text.endswith("\ufffd") or size <= 1:
                break
            shorter = await self._window(name, window.offset, size - 1)
            if shorter is None or shorter.size != size - 1:
                break
            size, text = shorter.size, shorter.content
        else:
            size, text = window.size, window.content
        self._offsets[name] = window.offset + size
        is_cut = not begun and window.offset > 0
        return LogText(name=name, text=_from_a_line(text) if is_cut else text, is_cut=is_cut)

    async def _window(self, name: str, offset: int, length: int) -> ReadFileResponse | None:
        """A part of a log; None: it is not there (yet)."""
        async with sandbox_faults(Cause.SANDBOX_LOST):
            try:
                found = await self._sandboxes.sdk.read_file(
                    self._sandbox_id, self._paths[name], offset=offset, length=length
                )
            except APIError as error:
                if not is_absent_file(error):
                    raise
                return None
        return found if found.offset is not None else _windowed(found, offset, length)


def _windowed(whole: ReadFileResponse, offset: int, length: int) -> ReadFileResponse:
    """A window of what came whole: VM sandboxes read no windows."""
    content = whole.content.encode()
    start = max(0, len(content) + offset) if offset < 0 else offset
    part = content[start : start + length]
    return ReadFileResponse(
        content=part.decode(errors="replace"),
        size=len(part),
        total_size=len(content),
        offset=start,
        truncated=len(part) < len(content),
    )


def _path(name: str, attempt: str) -> str:
    """Where a log is in the sandbox."""
    known = agent_logs(job_id(attempt))
    directory, _, rest = name.partition("/")
    if name in AGENT_LOGS:
        return known[name]
    if directory in _DIRECTORIES and rest:
        return f"/logs/{name}"
    raise UsageError(
        f"no log is called {name!r}: name {', '.join(AGENT_LOGS)}, or a file as in "
        f"{VERIFIER_LOG}, agent/FILE or artifacts/FILE"
    )


def _from_a_line(text: str) -> str:
    """What follows the first line break, or all where there is none."""
    return text.partition("\n")[2] or text
