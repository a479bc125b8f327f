"""The logs of a rollout: of an ended attempt from the store, of a living one from its sandbox.

Reads and never asks the sandbox to run anything, so that looking changes nothing. What is done with
control characters in it is the reader's business.
"""

import asyncio
import itertools
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

from rolldock.errors import StageError, UsageError
from rolldock.models.base import Contract
from rolldock.models.result import AttemptResult, RolloutResult
from rolldock.sandbox import archive
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.evidence import MAX_TOTAL_BYTES, REST
from rolldock.sandbox.labels import Ownership
from rolldock.store.store import Store
from rolldock.trainer.tail import AGENT_LOGS, VERIFIER_LOG, LogText, Tails

_SHOWN: Final = (*AGENT_LOGS, VERIFIER_LOG)
_RUNNING: Final = "RUNNING"
_LOOK_SECONDS: Final = 1.0
_LOOKS_AT_TEMPORAL: Final = 10
"""One look in so many asks Temporal too: whether the rollout was ended without a result."""


class LogNote(Contract):
    """What is worth saying between two pieces of logs."""

    text: str


LogPiece: TypeAlias = LogText | LogNote
Ended: TypeAlias = Callable[[bool], Awaitable[RolloutResult | None]]
"""The result once there is one; told whether to ask Temporal beside the store."""


class _Kept(NamedTuple):
    """A log in the store."""

    name: str
    content: bytes
    is_cut: bool

    def text(self, after_byte: int = 0) -> LogText:
        text = self.content[after_byte:].decode(errors="replace")
        return LogText(name=self.name, text=text, is_cut=self.is_cut)


async def ended_logs(store: Store, attempt: AttemptResult, name: str | None) -> list[LogText]:
    """The logs of an attempt that has ended.

    Args:
        name: of one file that it left; None: the agent's output and the verifier's.

    Raises:
        UsageError: the attempt left no such file, or the store has it no more.

    Returns:
        Those that hold anything.
    """
    return [kept.text() for kept in await _kept(store, attempt, name) if kept.content]


async def _kept(store: Store, attempt: AttemptResult, name: str | None) -> list[_Kept]:
    found = {artifact.name: artifact for artifact in attempt.artifacts}
    if name is not None and name not in found:
        return [await _packed(store, attempt, name)]
    return [
        _Kept(wanted, await _content(store, found[wanted].digest, wanted), found[wanted].truncated)
        for wanted in (_SHOWN if name is None else (name,))
        if wanted in found
    ]


async def _packed(store: Store, attempt: AttemptResult, name: str) -> _Kept:
    """A file that came with so many others that they are kept together."""
    names = [artifact.name for artifact in attempt.artifacts if artifact.name != REST]
    for artifact in attempt.artifacts:
        if artifact.name == REST:
            content = await _content(store, artifact.digest, REST)
            files = await asyncio.to_thread(_unpacked, content)
            if name in files:
                return _Kept(name, files[name], is_cut=False)
            names += files
    known = f"it left {', '.join(names)}" if names else f"it left none, it ended in {attempt.stage}"
    raise UsageError(f"attempt {attempt.number} has no log {name!r}: {known}")


def _unpacked(content: bytes) -> dict[str, bytes]:
    try:
        return dict(archive.unpack(content, MAX_TOTAL_BYTES))
    except tarfile.TarError:
        return {}


async def _content(store: Store, digest: str, name: str) -> bytes:
    try:
        return await store.get_blob(digest)
    except KeyError:
        raise UsageError(f"{name} is kept no more: the store has no blob {digest}") from None


class LiveLogs:
    """The logs of a rollout that may run, from attempt to attempt.

    Args:
        owner: whose sandboxes are looked for.
        name: the one log that is wanted; None: the agent's output and the verifier's.
    """

    def __init__(
        self, store: Store, sandboxes: Sandboxes, owner: Ownership, ended: Ended, name: str | None
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._owner = owner
        self._ended = ended
        self._name = name
        self._tails: Tails | None = None
        self._reached = False
        """Whether the sandbox of the tails answered the last time."""

    async def read(self, *, follow: bool) -> AsyncGenerator[LogPiece, None]:
        """What is there, once a sandbox is; with `follow` also what comes, to the rollout's end.

        Raises:
            UsageError: no log can have this name.
        """
        for n_looks in itertools.count():
            result = await self._ended(n_looks % _LOOKS_AT_TEMPORAL == 0)
            if result is not None:
                for piece in await self._rest(result):
                    yield piece
                return
            self._reached = self._reached or await self._find()
            async for piece in self._news():
                yield piece
            if self._reached and not follow:
                return
            if n_looks == 0 and not self._reached:
                yield LogNote(text="no sandbox runs just now: waiting for one")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _find(self) -> bool:
        """Whether an attempt has a sandbox that runs; its logs are read from here on."""
        try:
            owned = await self._sandboxes.owned(self._owner)
        except StageError:
            return False
        # An older one may still be on its way out.
        for sandbox in sorted(owned, key=lambda one: one.created_at, reverse=True):
            attempt = sandbox.owner.attempt
            if sandbox.status == _RUNNING and attempt is not None:
                if self._tails is None or self._tails.attempt != attempt:
                    self._tails = Tails(self._sandboxes, sandbox.id, attempt, self._name)
                return True
        return False

    async def _news(self) -> AsyncIterator[LogPiece]:
        if self._tails is None or not self._reached:
            return
        try:
            async for text in self._tails.read():
                yield text
        except StageError as error:
            # Over, or out of reach for a moment: the next looks find out which.
            self._reached = False
            yield LogNote(text=f"the sandbox of attempt {self._tails.attempt} is away: {error}")

    async def _rest(self, result: RolloutResult) -> list[LogPiece]:
        """What the last attempt wrote after the last look at it."""
        last, pieces = result.attempts[-1], list[LogPiece]()
        seen = self._tails if self._tails and self._tails.attempt == last.attempt else None
        try:
            kept = await _kept(self._store, last, self._name)
        except UsageError:
            if seen is None:
                raise
            return []
        for log in kept:
            n_seen = seen.n_read(log.name) if seen else 0
            if n_seen and log.is_cut:
                pieces.append(LogNote(text=f"{log.name} is too long: its end is in the store"))
            elif n_seen < len(log.content):
                pieces.append(log.text(n_seen))
        return pieces
