"""Recordings of ended rollouts as results name them, and what is said where one is gone."""

import asyncio

from rolldock.errors import UsageError
from rolldock.models.trace import Trace, TraceSummary
from rolldock.store import keys
from rolldock.store.recordings import deletion
from rolldock.store.store import Store


async def read_recording(store: Store, rollout: str, summary: TraceSummary) -> Trace:
    """The sealed trace that a result names.

    Raises:
        UsageError: it is not there (any more); the message says since when.
    """
    # An interrupted delete leaves some records beside its mark: the mark counts.
    gone, content = await asyncio.gather(
        deletion(store, keys.recorded_attempt(summary.ref)), store.get(summary.ref)
    )
    if gone is not None:
        raise UsageError(
            f"the recording of rollout {rollout!r} was deleted after {gone.after_days:g} days, at "
            f"{gone.deleted_at:%Y-%m-%d %H:%M} UTC; its result stays (`rolldock show {rollout}`)"
        )
    if content is None:
        raise UsageError(f"rollout {rollout!r} has no trace: its agent called no model")
    return Trace.model_validate_json(content)
