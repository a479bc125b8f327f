"""What rollouts leave: the index's entries, sealed traces, logs. Starts and changes nothing."""

from collections.abc import AsyncGenerator, AsyncIterator

from pydantic import Field
from temporalio.client import Client as Temporal

from rolldock.errors import UsageError
from rolldock.models.base import Contract
from rolldock.models.result import AttemptResult, IndexEntry, RolloutResult
from rolldock.models.trace import Trace
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.store import keys
from rolldock.store.store import Store
from rolldock.trainer.attempts import ended_attempts
from rolldock.trainer.handle import RolloutHandle
from rolldock.trainer.logs import LiveLogs, LogPiece, ended_logs
from rolldock.trainer.recordings import read_recording

_RUNNING = "running"


class LogQuery(Contract):
    """Which logs of a rollout."""

    name: str | None = None
    """Of one log, as among a result's artifacts; None: the agent's output and the verifier's."""
    attempt: int | None = Field(default=None, ge=1)
    """None: the newest."""
    follow: bool = False
    """Go on until the rollout has ended."""


async def list_finished(store: Store, experiment: str | None) -> AsyncIterator[IndexEntry]:
    """The index's entries, of one experiment or all, in no particular order."""
    wanted = None if experiment is None else keys.segment(experiment)
    async for name in store.names("index"):
        if wanted is None or name.split("/")[2] == wanted:
            content = await store.get(name)
            if content is not None:
                yield IndexEntry.model_validate_json(content)


async def read_trace(store: Store, handle: RolloutHandle) -> Trace:
    """The sealed trace of a rollout's last attempt.

    Raises:
        UsageError: there is no such rollout, no result yet, or no model was called.
    """
    result = await handle.stored()
    if result is None:
        status = await handle.status()
        raise UsageError(
            f"rollout {handle.id!r} has no trace yet, it is {status.state} ({status.stage}): "
            f"wait for its result, or see `rolldock show {handle.id}`"
        )
    if result.trace is None:
        raise UsageError(f"rollout {handle.id!r} has no trace: its agent called no model")
    return await read_recording(store, handle.id, result.trace)


async def read_logs(
    handle: RolloutHandle,
    store: Store,
    temporal: Temporal,
    sandboxes: Sandboxes,
    deployment: str,
    wanted: LogQuery,
) -> AsyncGenerator[LogPiece, None]:
    """The logs of a rollout, of its newest attempt unless another is named.

    Raises:
        UsageError: there is no such rollout, attempt or log.
        UnavailableError: Temporal does not give what is asked of it.
    """

    async def ended(ask_temporal: bool) -> RolloutResult | None:
        result = await handle.stored()
        if result is None and ask_temporal and (await handle.status()).state != _RUNNING:
            return await handle.result()
        return result

    result = await ended(True)
    attempt = await _attempt(temporal, handle.id, result, wanted)
    if attempt is not None:
        for text in await ended_logs(store, attempt, wanted.name):
            yield text
        return
    owner = Ownership(deployment=deployment, rollout=handle.id)
    live = LiveLogs(store, sandboxes, owner, ended, wanted.name)
    async for piece in live.read(follow=wanted.follow):
        yield piece


async def _attempt(
    temporal: Temporal, rollout: str, result: RolloutResult | None, wanted: LogQuery
) -> AttemptResult | None:
    """The ended attempt whose logs are wanted; None: the one that runs."""
    if result is not None:
        over = {attempt.number: attempt for attempt in result.attempts}
        newest = max(over)
    elif wanted.attempt is None:
        return None
    else:
        over = await ended_attempts(temporal, rollout)
        newest = max(over, default=0) + 1
    number = newest if wanted.attempt is None else wanted.attempt
    if number > newest:
        raise UsageError(f"rollout {rollout!r} has no attempt {number} (yet): it has {newest}")
    return over.get(number)
