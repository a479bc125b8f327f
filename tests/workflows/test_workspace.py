"""Keeping what an agent left, and grading it again: cancels, failures and sweeps in between."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from rolldock.models.checkpoint import CheckpointAsked
from rolldock.models.failure import Cause
from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.models.result import RolloutResult, Stage, Status, StopReason
from rolldock.models.spec import RolloutSpec
from rolldock.sandbox.checkpoints import list_checkpoints, read_asked, read_made
from rolldock.store import keys
from rolldock.trainer.client import Client
from tests.rollouts import alive, closed

if TYPE_CHECKING:
    from tests.workflows.conftest import Bench, Moment

HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]


async def keeping(client: Client, **changes: object) -> RolloutSpec:
    """A rollout that keeps what its agent left."""
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    return spec.model_copy(update={"keep_workspace": True, **changes})


def grading(origin: RolloutResult) -> RolloutSpec:
    """A rollout that grades the last attempt of another again."""
    point = ReplayPoint(kind=ReplayFrom.GRADE, attempt=origin.attempts[-1].attempt)
    update = {"id": f"{origin.rollout}/grade", "replay_of": origin.rollout, "replay": point}
    return origin.spec.model_copy(update=update)


async def test_a_kept_workspace_is_graded_again(bench: "Bench") -> None:
    """Nine activities, one of them the copy; its grade again has four, the trace of the first, and
    the same reward."""
    client = bench.client
    spec = await keeping(client)
    result = await (await client.start(spec)).result()
    [attempt] = result.attempts
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0)
    assert await activities(client, spec.id) == list(Stage)
    made = await read_made(client.store, attempt.attempt)
    assert made is not None
    assert (attempt.checkpoint, attempt.checkpoint_error) == (made.checkpoint_id, None)
    assert Stage.KEEP_WORKSPACE in attempt.timings
    again = await (await client.start(grading(result))).result()
    assert (again.status, again.reward, again.trace) == (Status.COMPLETED, 1.0, result.trace)
    stages = [Stage.CREATE_SANDBOX, Stage.GRADE, Stage.SEAL_TRACE, Stage.DELETE_SANDBOX]
    assert await activities(client, again.rollout) == stages
    assert again.attempts[0].checkpoint is None


@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_cancel_while_it_is_kept_leaves_what_the_reaper_can_delete(
    bench: "Bench", moment: "Moment"
) -> None:
    """No sandbox is left, and every checkpoint that may be there is in the ledger."""
    client = bench.client
    spec = await keeping(client)
    result = await cancelled_in(bench, spec, Stage.KEEP_WORKSPACE, moment)
    assert (result.status, result.stop_reason) == (Status.CANCELLED, StopReason.CANCELLED)
    assert await alive(client, spec.id) == []
    [attempt] = result.attempts
    asked = await read_asked(client.store, attempt.attempt)
    made = await list_checkpoints(bench.sandboxes, str(attempt.sandbox_id))
    assert asked is not None or made == []
    assert len(made) == 1 or moment == "before"


async def cancelled_in(
    bench: "Bench", spec: RolloutSpec, stage: Stage, moment: "Moment"
) -> RolloutResult:
    """What a rollout comes to that is cancelled at a moment of a stage; it is closed."""
    hold = bench.holds.add(spec.id, stage, moment)
    handle = await bench.client.start(spec)
    await hold.reached.wait()
    await handle.cancel()
    hold.let_go.set()
    result = await handle.result()
    await closed(bench.client, spec.id)
    return result


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept(bench: "Bench") -> RolloutResult:
    """A rollout whose work was kept."""
    return await (await bench.client.start(await keeping(bench.client))).result()


@pytest.mark.parametrize("moment", ["before", "during"])
@pytest.mark.parametrize("stage", [Stage.CREATE_SANDBOX, Stage.GRADE])
async def test_a_cancel_while_it_is_graded_again_leaves_no_sandbox(
    bench: "Bench", kept: RolloutResult, stage: Stage, moment: "Moment"
) -> None:
    """The result is stored as cancelled, and what was kept can be graded another time."""
    client = bench.client
    spec = grading(kept)
    spec = spec.model_copy(update={"id": f"{spec.id}/{stage}-{moment}"})
    result = await cancelled_in(bench, spec, stage, moment)
    assert (result.status, result.reward) == (Status.CANCELLED, None)
    assert await alive(client, spec.id) == []
    assert [name async for name in client.store.names(f"sessions/{attempt_of(result)}")] == []


async def test_a_sweep_deletes_what_has_expired(bench: "Bench") -> None:
    """Not while its rollout is open; after that once, with the count in the report; what was kept
    cannot be graded any more, and says so."""
    client = bench.client
    spec = await keeping(client)
    hold = bench.holds.add(spec.id, Stage.KEEP_WORKSPACE, "before")
    grade = bench.holds.add(spec.id, Stage.GRADE, "before")
    handle = await client.start(spec)
    await hold.reached.wait()
    await ask_for_no_time(client, spec)
    hold.let_go.set()
    await grade.reached.wait()
    assert (await client.reap(grace_seconds=0)).n_checkpoints == 0
    grade.let_go.set()
    result = await handle.result()
    await closed(client, spec.id)
    assert result.attempts[0].checkpoint is not None
    assert (await client.reap(dry_run=True, grace_seconds=0)).n_checkpoints == 1
    report = await client.reap(grace_seconds=0)
    assert (report.n_checkpoints, report.undeleted) == (1, ())
    assert (await client.reap(grace_seconds=0)).n_checkpoints == 0
    again = await (await client.start(grading(result))).result()
    assert again.failure is not None
    assert again.failure.cause is Cause.REPLAY_UNAVAILABLE
    assert "expired" in again.failure.message


async def ask_for_no_time(client: Client, spec: RolloutSpec) -> None:
    """An entry of the ledger, as an earlier try would have written it, that is over already."""
    [sandbox] = await alive(client, spec.id)
    now = datetime.now(UTC)
    asked = CheckpointAsked(
        deployment=client.deployment,
        rollout=spec.id,
        run=str(sandbox.owner.run),
        attempt=str(sandbox.owner.attempt),
        sandbox_id=sandbox.id,
        workdir="/app",
        stop_reason=StopReason.AGENT_COMPLETED,
        asked_at=now,
        expires_at=now,
    )
    await client.store.create(
        keys.checkpoint_asked(asked.attempt), asked.model_dump_json().encode()
    )


async def activities(client: Client, rollout: str) -> list[str]:
    """The activities of a closed rollout, in the order in which they were scheduled."""
    await closed(client, rollout)
    history = await client.temporal.get_workflow_handle(rollout).fetch_history()
    scheduled = (event.activity_task_scheduled_event_attributes for event in history.events)
    return [one.activity_type.name for one in scheduled if one.activity_id]


def attempt_of(result: RolloutResult) -> str:
    """The last attempt."""
    return result.attempts[-1].attempt
