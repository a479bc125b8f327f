"""What an export is made of: a result with the traces of its attempts, read from the store."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import orjson
from pydantic import JsonValue, ValidationError

from rolldock.chains import TokenChains
from rolldock.errors import UsageError
from rolldock.exports.branches import Branch, branches
from rolldock.gateway.rebuild import Rebuilder
from rolldock.models.result import AttemptResult, RolloutResult
from rolldock.models.trace import Trace
from rolldock.models.turn import Turn
from rolldock.results import read_result
from rolldock.store import keys
from rolldock.store.recordings import deletion
from rolldock.store.store import Store


class Lack(StrEnum):
    """Why an attempt has no conversation that could be exported."""

    NO_CALL = "no model was called"
    DELETED = "the recording was deleted"
    UNREADABLE = "the recording cannot be read"


@dataclass(frozen=True)
class Recorded:
    """A sealed trace with at least one turn, and what is read from it."""

    trace: Trace
    calls: Rebuilder
    chains: TokenChains
    tools: Mapping[str, JsonValue]
    """The tool definitions that requests had, in chat form, by digest; a blob that is no longer in
    the store is absent."""
    branches: tuple[Branch, ...]
    """The main one first."""

    def tools_of(self, turn: Turn) -> list[JsonValue]:
        """The tools of a turn's request; empty: it had none, or they are gone."""
        found = self.tools.get(turn.tools_digest) if turn.tools_digest else None
        return found if isinstance(found, list) else []


@dataclass(frozen=True)
class Attempted:
    """One attempt and its trace."""

    record: AttemptResult
    recorded: Recorded | None
    """None: there is none, or it was not asked for."""
    lack: Lack | None = None
    """Why there is none."""


@dataclass(frozen=True)
class Material:
    """One ended rollout."""

    result: RolloutResult
    attempts: tuple[Attempted, ...]

    @property
    def last(self) -> Recorded | None:
        """The trace that the result speaks of."""
        return self.attempts[-1].recorded if self.attempts else None

    @property
    def lack(self) -> Lack | None:
        """Why there is no such trace; None: there is one."""
        return self.attempts[-1].lack if self.attempts else Lack.NO_CALL


async def read_material(store: Store, rollout: str, *, earlier: bool = True) -> Material:
    """Everything that an export needs of a rollout, apart from its artifacts' contents.

    Args:
        earlier: whether traces of attempts before the last one are read as well.

    Raises:
        UsageError: it has no result in this store.
        UnavailableError: the store does not answer.
    """
    content = await store.get(keys.result(rollout))
    if content is None:
        raise UsageError(
            f"no result of rollout {rollout!r} in {store.where}: `rolldock ls` lists what has ended"
        )
    result = read_result(content)
    last = len(result.attempts) - 1
    return Material(
        result,
        tuple(
            [
                await _attempted(store, record) if earlier or n == last else Attempted(record, None)
                for n, record in enumerate(result.attempts)
            ]
        ),
    )


async def _attempted(store: Store, record: AttemptResult) -> Attempted:
    found = await _recorded(store, record)
    return Attempted(record, None, found) if isinstance(found, Lack) else Attempted(record, found)


async def _recorded(store: Store, record: AttemptResult) -> Recorded | Lack:
    summary = record.trace
    if summary is None:
        if record.trace_error is None:
            return Lack.NO_CALL
        gone = await deletion(store, record.attempt)
        return Lack.UNREADABLE if gone is None else Lack.DELETED
    if not summary.n_turns:
        return Lack.NO_CALL
    # An interrupted delete leaves some records beside its mark: the mark counts.
    gone, content = await asyncio.gather(
        deletion(store, keys.recorded_attempt(summary.ref)), store.get(summary.ref)
    )
    if gone is not None or content is None:
        return Lack.DELETED
    try:
        trace = Trace.model_validate_json(content)
    except ValidationError:
        return Lack.UNREADABLE
    return await _read(store, trace)


async def _read(store: Store, trace: Trace) -> Recorded:
    digests = {turn.tools_digest for turn in trace.turns if turn.tools_digest is not None}
    tools = {digest: await _json_blob(store, digest) for digest in sorted(digests)}
    return Recorded(
        trace,
        Rebuilder(store, trace.attempt, trace.turns),
        TokenChains(trace.turns),
        tools,
        branches(trace),
    )


async def _json_blob(store: Store, digest: str) -> JsonValue:
    try:
        return cast(JsonValue, orjson.loads(await store.get_blob(digest)))
    except KeyError:
        return None
