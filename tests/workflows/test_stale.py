"""A try that its server gave up goes on when another try has long done its work.

The worst case of a paused worker, or of one that the server cannot be heard by: no cancel comes to
the try, which carries out its whole stage.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Stage, Status
from rolldock.sandbox.client import Sandboxes
from rolldock.store import keys
from rolldock.trainer.client import Client
from tests.rollouts import alive, closed

if TYPE_CHECKING:
    from tests.workflows.conftest import Bench, Moment

TASKS = Path(__file__).parents[1] / "tasks"

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
    pytest.mark.slow,
]


@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_stale_try_of_any_stage_harms_nothing(hasty: "Bench", moment: "Moment") -> None:
    """The rollout is graded at its first attempt without it; afterwards it changes nothing."""
    await asyncio.gather(*(stale_in(hasty, stage, moment) for stage in Stage))


async def stale_in(bench: "Bench", stage: Stage, moment: "Moment") -> None:
    """A rollout, one of whose tries wakes when all is over."""
    client = bench.client
    spec = await client.spec(TASKS / "runs-once", agent="oracle")
    spec = spec.model_copy(update={"keep_workspace": stage is Stage.KEEP_WORKSPACE})
    hold = bench.holds.add(spec.id, stage, moment, deaf=True)
    handle = await client.start(spec)
    await hold.reached.wait()
    result = await handle.result()
    await closed(client, spec.id)
    before = await records(client, result)
    await hold.let_finish()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), (stage, result.failure)
    assert len(result.attempts) == 1, stage
    assert await client.handle(spec.id).result() == result, stage
    assert await records(client, result) == before, stage
    assert await alive(client, spec.id) == [], stage


async def test_a_stale_set_up_undoes_no_work_of_the_agent(hasty: "Bench") -> None:
    """It wakes when the agent has worked, before the tests run: the files stay as they are."""
    client = hasty.client
    spec = await client.spec(TASKS / "edits-file", agent="oracle")
    stale = hasty.holds.add(spec.id, Stage.SET_UP_SANDBOX, "before", deaf=True)
    ended = hasty.holds.add(spec.id, Stage.STOP_AGENT, "before", deaf=True)
    handle = await client.start(spec)
    await stale.reached.wait()
    await ended.reached.wait()
    await stale.let_finish()
    await ended.let_finish()
    result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure


async def test_a_stale_grade_leaves_the_tests_of_the_next_try_alone(hasty: "Bench") -> None:
    """It wakes while they run: it may not run them again, nor end them."""
    client = hasty.client
    spec = await client.spec(TASKS / "tests-wait", agent="oracle")
    hold = hasty.holds.add(spec.id, Stage.GRADE, "before", deaf=True)
    handle = await client.start(spec)
    await hold.reached.wait()
    [sandbox] = await alive(client, spec.id)
    while not await succeeds(hasty.sandboxes, sandbox.id, "test -e /tmp/waiting"):
        await asyncio.sleep(0.05)
    await hold.let_finish()
    assert await succeeds(hasty.sandboxes, sandbox.id, "touch /tmp/go")
    result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(result.attempts) == 1


async def succeeds(sandboxes: Sandboxes, sandbox_id: str, command: str) -> bool:
    """Whether a command does."""
    done = await sandboxes.run(sandbox_id, command, timeout_seconds=10, otherwise=Cause.INTERNAL)
    return done.exit_code == 0


async def records(client: Client, result: RolloutResult) -> tuple[bytes | None, bytes | None]:
    """What was committed: the result, and the tombstone of its attempt."""
    return (
        await client.store.get(keys.result(result.rollout)),
        await client.store.get(keys.tombstone(result.attempts[0].attempt)),
    )
