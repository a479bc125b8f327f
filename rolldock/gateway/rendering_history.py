"""The exact tokens of a session's earlier turns, which later prompts go on from.

Kept in memory up to a bound and read again from the session log where they are not; nothing here
is known to this process alone.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rolldock.gateway.patience import patiently
from rolldock.gateway.session_log import SessionLog
from rolldock.models.endpoint import Endpoint
from rolldock.models.session import TurnError, TurnReply
from rolldock.models.turn import Turn
from rolldock.store import keys
from rolldock.store.store import Store

MOST_TOKENS: Final = 16 * 1024 * 1024
"""Of all sessions together; four bytes each."""


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    """What a prompt that continues a turn has to begin with, and what must be as it was then."""

    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]
    n_messages: int
    """Of the turn's request; its reply is one more."""
    tools_digest: str | None
    tokenizer_digest: str | None
    renderer: str | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A turn's own tokens, without those of the turn that it extends."""

    extends: int | None
    prompt_ids: "array[int]"
    completion_ids: "array[int]"
    n_messages: int
    tools_digest: str | None
    endpoint: tuple[str, int]

    @property
    def n_tokens(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(slots=True)
class _Session:
    turns: dict[int, _Kept | None] = field(default_factory=dict[int, _Kept | None])
    """None: a slot that has no tokens, and never will."""
    n_tokens: int = 0


class History:
    """The turns of sessions that were asked for, the least recently used forgotten first."""

    def __init__(self, store: Store, most_tokens: int = MOST_TOKENS) -> None:
        self._store = store
        self._most_tokens = most_tokens
        self._sessions: dict[str, _Session] = {}
        self._n_tokens = 0
        self._rendered_by: dict[tuple[str, int], tuple[str | None, str | None]] = {}

    async def turn(self, attempt: str, slot: int) -> EarlierTurn | None:
        """A turn of a session; None: its tokens are not known.

        Raises:
            UnavailableError: the store does not answer.
        """
        session = self._sessions.pop(attempt, None) or _Session()
        self._sessions[attempt] = session
        await self._read(attempt, session, slot)
        self._forget()
        found = session.turns.get(slot)
        if found is None:
            return None
        prompt: array[int] = array("I")
        for earlier in _chain(session, found.extends):
            prompt.extend(earlier.prompt_ids)
            prompt.extend(earlier.completion_ids)
        prompt.extend(found.prompt_ids)
        digest, renderer = await self._rendering(found.endpoint)
        return EarlierTurn(
            prompt_ids=prompt,
            completion_ids=found.completion_ids,
            n_messages=found.n_messages,
            tools_digest=found.tools_digest,
            tokenizer_digest=digest,
            renderer=renderer,
        )

    async def _read(self, attempt: str, session: _Session, slot: int) -> None:
        """Read a turn and, since it may build on any of them, those before it."""
        if slot in session.turns:
            return
        missing = [number for number in range(slot + 1) if number not in session.turns]
        log = SessionLog(self._store, attempt)
        for reply in await patiently(lambda: log.replies(missing)):
            number, kept = _kept(reply)
            if number not in session.turns:
                session.turns[number] = kept
                n_tokens = 0 if kept is None else kept.n_tokens
                session.n_tokens += n_tokens
                self._n_tokens += n_tokens

    async def _rendering(self, endpoint: tuple[str, int]) -> tuple[str | None, str | None]:
        """The tokenizer and the renderer of one version of an endpoint."""
        if endpoint not in self._rendered_by:
            stored = await patiently(lambda: self._store.get(keys.endpoint(*endpoint)))
            record = None if stored is None else Endpoint.model_validate_json(stored)
            self._rendered_by[endpoint] = (
                (None, None) if record is None else (record.tokenizer_digest, record.renderer)
            )
        return self._rendered_by[endpoint]

    def _forget(self) -> None:
        """Forget whole sessions, but never the one that was asked for last."""
        for attempt in list(self._sessions)[:-1]:
            if self._n_tokens <= self._most_tokens:
                return
            self._n_tokens -= self._sessions.pop(attempt).n_tokens


def _kept(reply: TurnReply | TurnError) -> tuple[int, _Kept | None]:
    if isinstance(reply, TurnError):
        return reply.slot, None
    turn: Turn = reply.turn
    if turn.tokens is None:
        return turn.slot, None
    kept = _Kept(
        extends=turn.tokens.extends,
        prompt_ids=array("I", turn.tokens.prompt_ids),
        completion_ids=array("I", turn.tokens.completion_ids),
        n_messages=turn.n_shared + len(turn.messages),
        tools_digest=turn.tools_digest,
        endpoint=(turn.endpoint, turn.endpoint_version),
    )
    return turn.slot, kept


def _chain(session: _Session, slot: int | None) -> list[_Kept]:
    """The turns up to one, each of which extends the one before it."""
    chain: list[_Kept] = []
    while slot is not None and (kept := session.turns.get(slot)) is not None:
        chain.append(kept)
        slot = kept.extends
    return chain[::-1]
