"""A cancel before, during and after each of the eight stages, on the real server."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

from rolldock.models.result import Stage, Status, StopReason
from rolldock.models.spec import RolloutSpec
from rolldock.store import keys
from rolldock.trainer.client import Client
from tests.rollouts import alive, closed

if TYPE_CHECKING:
    from tests.workflows.conftest import Bench, Moment

HELLO = Path(__file__).parents[2] / "examples" / "tasks" / "hello-world"
COMMITTED = (Stage.SEAL_TRACE, Stage.DELETE_SANDBOX)
"""From the seal on, what the attempt was is decided."""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.mark.parametrize("moment", ["before", "during"])
@pytest.mark.parametrize("stage", [one for one in Stage if one is not Stage.KEEP_WORKSPACE])
async def test_a_cancel_at_any_stage_leaves_no_sandbox(
    bench: "Bench", stage: Stage, moment: "Moment"
) -> None:
    """The result is stored and the sandbox is gone, wherever the cancel comes."""
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    hold = bench.holds.add(spec.id, stage, moment)
    handle = await client.start(spec)
    await hold.reached.wait()
    await handle.cancel()
    await _cancel_arrived(client, spec)
    hold.let_go.set()
    result = await handle.result()
    if stage in COMMITTED:
        assert (result.status, result.reward) == (Status.COMPLETED, 1.0)
    else:
        assert (result.status, result.reward) == (Status.CANCELLED, None)
        assert result.stop_reason is StopReason.CANCELLED
    await _assert_nothing_left(client, spec, result.status)


async def test_a_cancel_after_the_end_changes_nothing(bench: "Bench") -> None:
    """After the last stage there is nothing to cancel, and the result stands."""
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    handle = await client.start(spec)
    result = await handle.result()
    await closed(client, spec.id)
    await handle.cancel()
    assert await handle.result() == result
    await _assert_nothing_left(client, spec, Status.COMPLETED)


async def test_a_second_cancel_while_cleaning_up_does_not_stop_the_cleanup(
    bench: "Bench",
) -> None:
    """Cancelled during the agent, cancelled again during the delete: the sandbox goes."""
    client = bench.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    first = bench.holds.add(spec.id, Stage.AWAIT_AGENT, "before")
    second = bench.holds.add(spec.id, Stage.DELETE_SANDBOX, "before")
    handle = await client.start(spec)
    await first.reached.wait()
    await handle.cancel()
    first.let_go.set()
    await second.reached.wait()
    await handle.cancel()
    second.let_go.set()
    assert (await handle.result()).status is Status.CANCELLED
    await _assert_nothing_left(client, spec, Status.CANCELLED)


async def _cancel_arrived(client: Client, spec: RolloutSpec) -> None:
    """Wait until the workflow has the cancel in its history."""
    wanted = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
    handle = client.temporal.get_workflow_handle(spec.id)
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == wanted:
            return


async def _assert_nothing_left(client: Client, spec: RolloutSpec, status: Status) -> None:
    closed_as = {
        Status.COMPLETED: WorkflowExecutionStatus.COMPLETED,
        Status.CANCELLED: WorkflowExecutionStatus.CANCELED,
    }[status]
    assert await closed(client, spec.id) is closed_as
    assert await alive(client, spec.id) == []
    result = await client.handle(spec.id).stored()
    assert result is not None
    for attempt in result.attempts:
        assert await client.store.get(keys.tombstone(attempt.attempt)) is not None
