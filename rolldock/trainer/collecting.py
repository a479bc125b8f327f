"""Garbage collection beside rollouts that run: from when on what they name is certainly kept.

What is freed and how is in `rolldock/store/collecting.py`.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client as Temporal
from temporalio.service import RPCError

from rolldock.errors import UnavailableError, UsageError
from rolldock.models import names
from rolldock.models.collecting import Collection
from rolldock.settings import Settings
from rolldock.store.collecting import Wanted, look
from rolldock.store.deployments import other_deployments
from rolldock.store.store import BLOB_GRACE, Store
from rolldock.trainer.runs import OPEN, Runs, list_runs
from rolldock.trainer.unwritten import runs_without_result

LEAST_AGE: Final = timedelta(days=1)
"""Recordings of rollouts that ended later may still be read by whoever waited for them."""
_BEFORE_OPEN: Final = timedelta(days=3)
"""A run that was reset began later than what its history names: by what a rollout may last with
its cleanup at most, and `BLOB_GRACE`."""
_OPEN_ROLLOUTS: Final = f"WorkflowType = '{names.ROLLOUT_WORKFLOW}' AND {OPEN}"


async def look_beside_rollouts(
    temporal: Temporal,
    store: Store,
    settings: Settings,
    deployment: str,
    older_than: timedelta | None = None,
    experiment: str | None = None,
    *,
    foreign: bool = False,
) -> Collection:
    """What the store holds, and what of it can be freed while rollouts go on.

    Args:
        deployment: the one that Temporal's rollouts are of.
        older_than: recordings of rollouts that ended so long ago can go, and blobs of that age;
            None: recordings past their lifetime, and blobs past the grace period.
        experiment: only its recordings can go.
        foreign: what other deployments may need can go, too.

    Raises:
        UsageError: an age below a day.
        UnavailableError: the store does not answer, or Temporal cannot tell what is open.
    """
    if older_than is not None and older_than < LEAST_AGE:
        raise UsageError("--older-than: at least 1d, what is younger may be in use")
    now = datetime.now(UTC)
    lifetime = timedelta(days=settings.recording_days) if settings.recording_days else None
    age = older_than or lifetime
    wanted = Wanted(
        recordings_before=None if age is None else now - max(age, LEAST_AGE),
        blobs_before=await _blobs_before(temporal, store, now - (older_than or BLOB_GRACE)),
        experiment=experiment,
        others=() if foreign else await other_deployments(store, deployment),
    )
    return await look(store, wanted, Runs(temporal).is_open)


async def _blobs_before(temporal: Temporal, store: Store, wanted: datetime) -> datetime:
    """A time before anything that a rollout without a result may have stored or held.

    Raises:
        UnavailableError: Temporal does not say which there are.
    """
    try:
        began = [
            found.start_time.ToDatetime(UTC) async for found in list_runs(temporal, _OPEN_ROLLOUTS)
        ]
        began += [ended.start_time async for ended in runs_without_result(temporal, store)]
    except RPCError as error:
        raise UnavailableError(
            f"Temporal does not say which rollouts are open: {error.message}: nothing can be freed "
            "without that"
        ) from error
    return min([wanted, *(at - _BEFORE_OPEN for at in began)])
