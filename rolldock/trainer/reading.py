"""What ended rollouts left in the store: the index's entries, sealed traces. Waits for nothing."""

from collections.abc import AsyncIterator

from rolldock.errors import UsageError
from rolldock.models.result import IndexEntry
from rolldock.models.trace import Trace
from rolldock.store import keys
from rolldock.store.store import Store
from rolldock.trainer.handle import RolloutHandle


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
    if result.trace is None or (content := await store.get(result.trace.ref)) is None:
        raise UsageError(f"rollout {handle.id!r} has no trace: its agent called no model")
    return Trace.model_validate_json(content)
