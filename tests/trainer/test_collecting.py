"""What Temporal says of open rollouts to whoever frees a store: whatever is not over counts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowHandle

from rolldock.errors import UnavailableError
from rolldock.models import names
from rolldock.models.collecting import Collection
from rolldock.models.spec import AgentRef, TaskRef
from rolldock.settings import Settings
from rolldock.store.deployments import mark_deployment, other_deployments
from rolldock.store.store import Store
from rolldock.trainer.client import Client
from rolldock.trainer.collecting import look_beside_rollouts
from tests.ended import spec_of
from tests.eventually import eventually
from tests.trainer.pausing import pause

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path))


async def seen(temporal: Temporal, store: Store, *, foreign: bool = False) -> Collection:
    """What a look finds beside what this Temporal knows."""
    return await look_beside_rollouts(temporal, store, Settings(), "ours", foreign=foreign)


async def start(temporal: Temporal, rollout: str) -> WorkflowHandle[object, object]:
    """A rollout whose first task nobody takes."""
    return await temporal.start_workflow(names.ROLLOUT_WORKFLOW, id=rollout, task_queue="nobody")


async def test_what_is_not_over_keeps_its_blobs(temporal: Temporal, store: Store) -> None:
    """A rollout that is paused, and one that was ended from outside and has no result yet."""
    assert (await seen(temporal, store)).blobs_before > datetime.now(UTC) - 2 * DAY
    paused = await start(temporal, "paused")
    await pause(temporal, "paused")

    async def is_listed(query: str) -> bool:
        return (await temporal.count_workflows(query)).count == 1

    async def is_kept() -> bool:
        return (await seen(temporal, store)).blobs_before < datetime.now(UTC) - 2 * DAY

    await eventually(lambda: is_listed("ExecutionStatus = 'Paused'"), "the pause is listed")
    assert await is_kept()
    await paused.terminate("a test")
    await eventually(lambda: is_listed("ExecutionStatus = 'Terminated'"), "the end is listed")
    assert await is_kept()


async def test_an_error_is_no_answer(temporal: Temporal, store: Store) -> None:
    """Where Temporal does not say what is open, nothing is looked for at all."""
    nowhere = await Temporal.connect(temporal.service_client.config.target_host, namespace="no")
    with pytest.raises(UnavailableError, match="does not say which rollouts are open"):
        await seen(nowhere, store)


async def test_a_start_leaves_its_deployments_mark(temporal: Temporal, store: Store) -> None:
    """Before anything of the rollout is in the store; once for all that follow."""
    task = TaskRef(name="task", digest=await store.put_blob(b"bundle"))
    client = Client(temporal, store, Settings(), "ours")
    for name in ("a", "b"):
        await client.start(spec_of(name, agent=AgentRef(name="nop"), endpoint=None, task=task))
    [mark] = await other_deployments(store, "theirs")
    assert (mark.deployment, mark.namespace) == ("ours", temporal.namespace)


async def test_another_deployments_mark_counts_until_a_person_says_so(
    temporal: Temporal, store: Store
) -> None:
    """Its own mark changes nothing."""
    await mark_deployment(store, "ours", "default")
    assert (await seen(temporal, store)).others == ()
    await mark_deployment(store, "theirs", "elsewhere")
    assert [one.namespace for one in (await seen(temporal, store)).others] == ["elsewhere"]
    assert (await seen(temporal, store, foreign=True)).others == ()
