"""Rollouts that were ended from outside: found in Temporal's list, given the result they lack."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecution
from temporalio.service import RPCError

from rolldock.errors import RolldockError
from rolldock.models import names
from rolldock.store import keys
from rolldock.store.store import Store
from rolldock.trainer.ended import write_result_of
from rolldock.trainer.runs import Run, describe

_LOOKED_BACK: Final = timedelta(days=1)
"""What ended earlier gets its result when somebody asks for it."""
_AT_ONCE: Final = 32

_QUERY: Final = (
    f"WorkflowType = '{names.ROLLOUT_WORKFLOW}' AND (ExecutionStatus = 'Terminated' OR "
    "ExecutionStatus = 'TimedOut' OR (ExecutionStatus = 'Failed' AND "
    f"{names.ATTRIBUTE_OUTCOME} = '{names.NO_OUTCOME}'))"
)


async def without_result(temporal: Temporal, store: Store) -> AsyncIterator[Run]:
    """Rollouts that ended lately, from outside, have no record and do not run again.

    Raises:
        UnavailableError: the store does not answer.
    """
    seen: set[str] = set()
    async for found in runs_without_result(temporal, store, within=_LOOKED_BACK):
        if found.id not in seen and (ended := await _ended(temporal, found.id)) is not None:
            yield ended
        seen.add(found.id)


async def runs_without_result(
    temporal: Temporal, store: Store, within: timedelta | None = None
) -> AsyncIterator[WorkflowExecution]:
    """Runs that were ended from outside and whose rollout has no result; it may run again by now.

    Args:
        within: ended so lately; None: as far back as Temporal remembers.

    Raises:
        UnavailableError: the store does not answer.
        RPCError: Temporal does not.
    """
    since = (
        "" if within is None else f" AND CloseTime > '{(datetime.now(UTC) - within).isoformat()}'"
    )
    listed = [found async for found in temporal.list_workflows(f"{_QUERY}{since}")]
    for start in range(0, len(listed), _AT_ONCE):
        batch = listed[start : start + _AT_ONCE]
        written = await asyncio.gather(*(store.get(keys.result(found.id)) for found in batch))
        for found, content in zip(batch, written, strict=True):
            if content is None:
                yield found


async def _ended(temporal: Temporal, rollout: str) -> Run | None:
    """The newest run if it is over; None: it runs again after a reset, or that cannot be told."""
    try:
        newest = await describe(temporal, rollout)
    except RPCError:
        return None
    return None if newest.is_open else newest


async def write_result(temporal: Temporal, store: Store, ended: Run) -> str | None:
    """Write the result of a rollout that has ended; None, or why it could not be written."""
    try:
        await write_result_of(temporal, store, ended, by="reaper")
    except (RolldockError, RPCError, ValueError) as error:
        return f"{ended.id}: {error}"
    return None
