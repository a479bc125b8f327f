"""The reaper on the real server: what it deletes, what it leaves alone, what it writes."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from temporalio.client import ScheduleActionExecutionStartWorkflow, WorkflowExecutionStatus
from temporalio.testing import ActivityEnvironment

from activities.reaping import ReapingActivities
from activities.tasks import Tasks
from activities.tools import Tools
from rolldock.errors import UsageError
from rolldock.models import names
from rolldock.models.failure import Cause
from rolldock.models.reaping import SweepRequest, Verdict
from rolldock.models.result import Stage, Status
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.sandbox.watch import JobWatch
from rolldock.store.store import Store
from rolldock.trainer.client import Client
from tests.ended import conversation, end_rollout, spec_of
from tests.rollouts import alive, host_sandbox

if TYPE_CHECKING:
    from tests.workflows.conftest import Bench

HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


async def test_a_terminated_rollout_is_cleaned_up_and_gets_its_result(bench: "Bench") -> None:
    """One sweep deletes the sandbox and writes `failed`, cause `terminated`, with the attempt."""
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    hold = bench.holds.add(spec.id, Stage.GRADE, "before")
    await client.start(spec)
    await hold.reached.wait()
    await client.temporal.get_workflow_handle(spec.id).terminate("a test")
    await listed_as_terminated(client, spec.id)
    report = await client.reap(grace_seconds=0)
    hold.let_go.set()
    assert report.n_deleted == 1
    assert report.results == (spec.id,)
    assert [one.deleted for one in report.swept if one.rollout == spec.id] == [True]
    assert await alive(client, spec.id) == []
    result = await client.handle(spec.id).stored()
    assert result is not None
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert (result.failure.cause, result.failure.stage) == (Cause.TERMINATED, Stage.GRADE)
    [attempt] = result.attempts
    assert attempt.sandbox_id is not None
    assert attempt.trace is not None
    assert attempt.trace.n_turns == 3


async def test_a_rollout_terminated_while_it_sealed_gets_the_result_that_it_had(
    bench: "Bench",
) -> None:
    """The seal that nobody carried out is carried out by whoever asks for the result."""
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    hold = bench.holds.add(spec.id, Stage.SEAL_TRACE, "before")
    handle = await client.start(spec)
    await hold.reached.wait()
    await client.temporal.get_workflow_handle(spec.id).terminate("a test")
    result = await handle.result()
    hold.let_go.set()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0)
    assert result.trace is not None
    await client.reap(grace_seconds=0)
    assert await alive(client, spec.id) == []


async def test_a_history_that_cannot_be_read_holds_nobody_up(bench: "Bench") -> None:
    """It is named in the report; a rollout behind it gets its result, its sandbox is deleted."""
    client = bench.client
    stranger = await client.temporal.start_workflow(
        names.ROLLOUT_WORKFLOW, {"spec": 7}, id="stranger", task_queue="nobody-listens"
    )
    spec = await client.spec(HELLO, agent="nop")
    hold = bench.holds.add(spec.id, Stage.GRADE, "before")
    await client.start(spec)
    await hold.reached.wait()
    await client.temporal.get_workflow_handle(spec.id).terminate("a test")
    await stranger.terminate("a test")
    await listed_as_terminated(client, spec.id)
    await listed_as_terminated(client, stranger.id)
    report = await client.reap(grace_seconds=0)
    hold.let_go.set()
    assert spec.id in report.results
    assert any(stranger.id in problem for problem in report.unwritten)
    assert await alive(client, spec.id) == []
    with pytest.raises(UsageError, match="no rollout that this version can read"):
        await client.handle(stranger.id).result()


async def test_an_open_rollout_is_left_alone(bench: "Bench") -> None:
    """A sweep without grace touches no sandbox whose rollout has an open run."""
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    hold = bench.holds.add(spec.id, Stage.GRADE, "before")
    handle = await client.start(spec)
    await hold.reached.wait()
    report = await client.reap(grace_seconds=0)
    assert report.counts.get(Verdict.OPEN) == 1
    assert len(await alive(client, spec.id)) == 1
    hold.let_go.set()
    assert (await handle.result()).reward == 1.0


async def test_a_young_sandbox_is_spared_and_a_dry_run_deletes_nothing(bench: "Bench") -> None:
    """A sandbox of a rollout that Temporal does not know: spared by age, shown by a dry run."""
    client = bench.client
    async with owned_sandbox(client, client.deployment) as sandbox_id:
        spared = await client.reap(grace_seconds=3600)
        assert spared.counts.get(Verdict.YOUNG) == 1
        shown = await client.reap(dry_run=True, grace_seconds=0)
        assert [one.sandbox_id for one in shown.swept] == [sandbox_id]
        assert shown.n_deleted == 0
        assert sandbox_id in await all_sandboxes(client)
        swept = await client.reap(grace_seconds=0)
        assert swept.n_deleted == 1
        assert sandbox_id not in await all_sandboxes(client)


async def test_an_expired_recording_is_deleted_and_its_result_is_kept(
    bench: "Bench", tmp_path: Path
) -> None:
    """A dry run deletes none; whoever asks for the trace then is told that it was deleted."""
    store, spec = Store.open(str(tmp_path)), spec_of("long-ago/0")
    await end_rollout(store, spec, conversation(2))
    client = Client(bench.client.temporal, store, bench.client.settings, bench.client.deployment)
    sweep = ReapingActivities(tools_of(bench, store), client.temporal).sweep
    shown = await ActivityEnvironment().run(sweep, SweepRequest(dry_run=True))
    assert shown.n_recordings == 0
    assert len((await client.trace(spec.id)).turns) == 2
    assert (await ActivityEnvironment().run(sweep, SweepRequest())).n_recordings == 1
    result = await client.handle(spec.id).result()
    assert (result.reward, result.trace is None) == (1.0, False)
    with pytest.raises(UsageError, match="was deleted after"):
        await client.trace(spec.id)


def tools_of(bench: "Bench", store: Store) -> Tools:
    """What a worker's activities share, over a store of the test's own."""
    return Tools(
        sandboxes=bench.sandboxes,
        watch=JobWatch(bench.sandboxes),
        store=store,
        tasks=Tasks(store),
        settings=bench.client.settings,
        deployment=bench.client.deployment,
        secret=b"",
        environment={},
    )


async def test_a_foreign_sandbox_is_deleted_only_by_name(bench: "Bench") -> None:
    """Another deployment's sandbox survives every sweep, and a delete that does not say foreign."""
    client = bench.client
    async with owned_sandbox(client, "another-deployment") as sandbox_id:
        report = await client.reap(grace_seconds=0)
        assert report.counts == {}
        assert sandbox_id in await all_sandboxes(client)
        with pytest.raises(UsageError, match="--foreign"):
            await client.delete_sandbox(sandbox_id)
        await client.delete_sandbox(sandbox_id, foreign=True)
        while sandbox_id in await all_sandboxes(client):
            await asyncio.sleep(0.02)


async def test_a_sandbox_of_an_open_rollout_cannot_be_deleted_by_name(bench: "Bench") -> None:
    """The error names the rollout and how to cancel it."""
    client = bench.client
    spec = await client.spec(HELLO, agent="nop")
    hold = bench.holds.add(spec.id, Stage.GRADE, "before")
    handle = await client.start(spec)
    await hold.reached.wait()
    [sandbox] = await alive(client, spec.id)
    with pytest.raises(UsageError, match=f"rolldock cancel {spec.id}"):
        await client.delete_sandbox(sandbox.id)
    hold.let_go.set()
    await handle.result()


async def test_the_schedule_is_there(bench: "Bench") -> None:
    """A stack schedules the reaper: overlap skipped, every five minutes."""
    schedule = bench.client.temporal.get_schedule_handle(names.REAPER_SCHEDULE)
    described = (await schedule.describe()).schedule
    assert [one.every.total_seconds() for one in described.spec.intervals] == [300]
    await schedule.trigger()
    while not (actions := (await schedule.describe()).info.recent_actions):
        await asyncio.sleep(0.05)
    started = actions[0].action
    assert isinstance(started, ScheduleActionExecutionStartWorkflow)
    handle = bench.client.temporal.get_workflow_handle(started.workflow_id)
    await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


@asynccontextmanager
async def owned_sandbox(client: Client, deployment: str) -> AsyncGenerator[str, None]:
    """A sandbox of a rollout that no workflow is about."""
    attempt = str(uuid.uuid4())
    owner = Ownership(deployment=deployment, rollout=f"lost/{attempt}", run="none", attempt=attempt)
    settings = client.settings
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes:
        sandbox_id, _ = await sandboxes.create(host_sandbox(owner))
        try:
            yield sandbox_id
        finally:
            await sandboxes.delete(sandbox_id)


async def all_sandboxes(client: Client) -> list[str]:
    """The ids of every living sandbox."""
    return [one.sandbox.id for one in await client.sandboxes()]


async def listed_as_terminated(client: Client, rollout: str) -> None:
    """Wait until Temporal's list, which follows its database by a moment, shows the end."""
    query = f"WorkflowId = '{rollout}' AND ExecutionStatus = 'Terminated'"
    while not [found async for found in client.temporal.list_workflows(query)]:
        await asyncio.sleep(0.02)
