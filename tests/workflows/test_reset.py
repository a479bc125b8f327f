"""A reset from the UI, at any workflow task: one sandbox at most goes on, none is left."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from temporalio.client import WorkflowExecutionStatus

from rolldock.errors import UsageError
from rolldock.models.result import Stage, Status
from rolldock.store import keys
from rolldock.store.recordings import delete_recordings
from tests.rollouts import alive, closed, reset

if TYPE_CHECKING:
    from tests.workflows.conftest import Bench

HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"
N_TASKS_BY_THEN = 4
"""Workflow tasks before the agent is watched: the start, and one after each stage."""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.mark.parametrize("number", range(N_TASKS_BY_THEN))
async def test_a_reset_under_a_working_agent_leaves_one_sandbox(
    bench: "Bench", number: int
) -> None:
    """Reset to each workflow task so far: the rollout is graded, by one sandbox, and none is left.

    After the create the new run goes on with the old sandbox; before it, the old one is ended.
    """
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    hold = bench.holds.add(spec.id, Stage.AWAIT_AGENT, "before")
    handle = await client.start(spec)
    await hold.reached.wait()
    [before] = await alive(client, spec.id)
    again = bench.holds.add(spec.id, Stage.AWAIT_AGENT, "before")
    await reset(client, spec.id, number)
    hold.let_go.set()
    await again.reached.wait()
    [after] = await alive(client, spec.id)
    assert (after.id == before.id) == (number > 0)
    again.let_go.set()
    result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(result.attempts) == 1
    await closed(client, spec.id)
    assert await alive(client, spec.id) == []
    if number == 0:
        assert await client.store.get(keys.tombstone(before.name)) is not None


@pytest.mark.parametrize("number", [0, 2, -1])
async def test_a_reset_of_a_finished_rollout_closes_as_its_record_says(
    bench: "Bench", number: int
) -> None:
    """The result stands, whatever task the reset goes to, and no sandbox is made for long."""
    client = bench.client
    spec = await client.spec(HELLO, agent="nop")
    handle = await client.start(spec)
    result = await handle.result()
    await closed(client, spec.id)
    await reset(client, spec.id, number)
    assert await closed(client, spec.id) is WorkflowExecutionStatus.COMPLETED
    assert await handle.result() == result
    assert await alive(client, spec.id) == []


@pytest.mark.parametrize("number", [1, 2, -1])
async def test_a_reset_records_nothing_where_a_recording_was_deleted(
    bench: "Bench", number: int
) -> None:
    """It closes as the result says, and a reader is still told that the recording is gone."""
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    result = await (await client.start(spec)).result()
    await closed(client, spec.id)
    await delete_recordings(client.store, result, datetime.now(UTC))
    await reset(client, spec.id, number)
    await closed(client, spec.id)
    [attempt] = result.attempts
    for left in (keys.session(attempt.attempt), keys.trace(attempt.attempt)):
        assert await client.store.get(left) is None
    assert await client.handle(spec.id).result() == result
    with pytest.raises(UsageError, match="was deleted after"):
        await client.trace(spec.id)
    assert await alive(client, spec.id) == []
