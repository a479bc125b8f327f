"""Grading again what an agent left: a sandbox lost while it was graded costs no model call."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Delay, Fault
from rolldock.models.failure import Cause
from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.models.result import AttemptResult, RolloutResult, Stage, Status, StopReason
from rolldock.models.spec import RolloutSpec
from rolldock.sandbox.checkpoints import list_checkpoints, read_asked, read_made
from rolldock.sandbox.client import Sandboxes
from rolldock.store import keys
from rolldock.trainer.client import Client
from tests.e2e.runs import HELLO, TASKS
from tests.e2e.waiting import waiting_rollout
from tests.rollouts import alive, closed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


class Site(NamedTuple):
    """A stack of its own that takes faults."""

    stack: Stack
    client: Client
    sandboxd: FaultClient
    model: FaultClient


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(stack_options: Callable[[bool], StackOptions]) -> AsyncGenerator[Site, None]:
    """Its rollouts give a silent worker up soon."""
    options = stack_options(True).model_copy(update={"faults": True})
    async with Stack(options) as stack:
        client = await Client.connect(stack.settings.model_copy(update={"heartbeat_seconds": 3}))
        await client.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
        key = stack.settings.prime_api_key
        async with (
            FaultClient(stack.origin(Port.SANDBOXD), key) as sandboxd,
            FaultClient(stack.origin(Port.SCRIPTED)) as model,
        ):
            yield Site(stack, client, sandboxd, model)


async def test_a_sandbox_lost_in_grading_is_graded_again_without_a_model_call(site: Site) -> None:
    """The first rollout fails with its work kept; the second, whose tests are other ones, has
    reward 1, the first one's trace, and nothing of the first one's end."""
    client = site.client
    spec = await _graded_late(client, keep_workspace=True)
    async with waiting_rollout(site.stack, client, spec):
        [sandbox] = await alive(client, spec.id)
        await site.sandboxd.harm(sandbox.id, "lose")
        lost = await client.handle(spec.id).result()
    [attempt] = lost.attempts
    assert attempt.failure is not None
    assert (attempt.failure.stage, lost.reward) == (Stage.GRADE, None)
    made = await read_made(client.store, attempt.attempt)
    assert made is not None
    assert (attempt.checkpoint, attempt.checkpoint_error) == (made.checkpoint_id, None)
    before = await site.model.journal()
    replay = await again(client, lost, attempt, HELLO)
    result = await (await client.start(replay)).result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert await site.model.journal() == before
    assert (result.trace, result.agent_version) == (lost.trace, lost.agent_version)
    assert result.trace is not None
    assert result.trace.n_turns > 0
    assert set(result.attempts[0].timings) == {Stage.CREATE_SANDBOX, Stage.GRADE}
    sessions = client.store.names(f"sessions/{result.attempts[0].attempt}")
    assert [name async for name in sessions] == []
    assert await alive(client, replay.id) == []
    assert (await client.trace(replay.id)).attempt == attempt.attempt
    assert await client.samples(replay.id) == await client.samples(spec.id)


async def test_a_grade_that_fails_in_a_living_sandbox_keeps_the_work(site: Site) -> None:
    """Although nobody asked for it; tests that want something else say so then."""
    client = site.client
    spec = await _graded_late(client)
    async with waiting_rollout(site.stack, client, spec) as waiting:
        no_logs = Fault(method="GET", path="/.*/download", action=Answer(status=400), times=None)
        broken = await site.sandboxd.add(no_logs)
        result = await waiting.let_go()
        await site.sandboxd.remove(broken)
    [attempt] = result.attempts
    assert (result.status, attempt.stage) == (Status.FAILED, Stage.GRADE), result.failure
    assert result.stop_reason is StopReason.INFRASTRUCTURE
    assert attempt.checkpoint is not None, attempt.checkpoint_error
    replay = await again(client, result, attempt, TASKS / "wrong-solution")
    graded = await (await client.start(replay)).result()
    assert (graded.status, graded.reward) == (Status.COMPLETED, 0.0), graded.failure
    assert graded.stop_reason is StopReason.AGENT_COMPLETED
    assert graded.attempts[0].checkpoint is None


async def test_a_checkpoint_that_cannot_be_made_costs_no_reward(site: Site) -> None:
    """The API refuses it: that is noted in the attempt's record, and the grade stands."""
    client = site.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    path, refused = "/api/v1/sandbox/[^/]+/checkpoints", Answer(status=400)
    fault = await site.sandboxd.add(Fault(method="POST", path=path, action=refused))
    handle = await client.start(spec.model_copy(update={"keep_workspace": True}))
    result = await handle.result()
    assert await site.sandboxd.hits(fault) == 1
    [attempt] = result.attempts
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert (attempt.checkpoint, attempt.failure) == (None, None)
    assert str(attempt.checkpoint_error).startswith("sandbox_unavailable: ")


async def test_a_cancel_while_the_work_of_a_failed_grade_is_kept(site: Site) -> None:
    """It goes on to the end, as all cleaning up does: the failure stands, the work is kept, the
    sandbox is gone."""
    client = site.client
    spec = await _graded_late(client)
    path, slow = "/api/v1/sandbox/[^/]+/checkpoints", Delay(seconds=1.5, when="before")
    async with waiting_rollout(site.stack, client, spec) as waiting:
        no_logs = Fault(method="GET", path="/.*/download", action=Answer(status=400), times=None)
        broken = await site.sandboxd.add(no_logs)
        fault = await site.sandboxd.add(Fault(method="POST", path=path, action=slow))
        await waiting.run("touch /tmp/go")
        while await site.sandboxd.hits(fault) == 0:
            await asyncio.sleep(0.02)
        await client.handle(spec.id).cancel()
        result = await client.handle(spec.id).result()
        for added in (broken, fault):
            await site.sandboxd.remove(added)
    [attempt] = result.attempts
    assert attempt.failure is not None
    assert (result.status, attempt.failure.stage) == (Status.FAILED, Stage.GRADE)
    assert attempt.checkpoint is not None, attempt.checkpoint_error
    await closed(client, spec.id)
    assert await alive(client, spec.id) == []


@pytest.mark.slow
async def test_a_worker_killed_while_it_keeps_the_work_makes_one_checkpoint(site: Site) -> None:
    """The next try finds what the first one asked for and never heard of."""
    client = site.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    path, late = "/api/v1/sandbox/[^/]+/checkpoints", Delay(seconds=20, when="after")
    fault = await site.sandboxd.add(Fault(method="POST", path=path, action=late))
    handle = await client.start(spec.model_copy(update={"keep_workspace": True}))
    while await site.sandboxd.hits(fault) == 0:
        await asyncio.sleep(0.02)
    [sandbox] = await alive(client, spec.id)
    assert await read_asked(client.store, str(sandbox.owner.attempt)) is not None
    async with sandboxes_of(site) as sandboxes:
        while not await list_checkpoints(sandboxes, sandbox.id):
            await asyncio.sleep(0.02)
    site.stack.kill("worker")
    await site.stack.ready("worker")
    result = await handle.result()
    await site.sandboxd.remove(fault)
    [attempt] = result.attempts
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    async with sandboxes_of(site) as sandboxes:
        made = await list_checkpoints(sandboxes, str(attempt.sandbox_id))
    assert [one.id for one in made] == [attempt.checkpoint]


async def test_what_is_not_there_cannot_be_graded(site: Site) -> None:
    """No checkpoint in the ledger: one attempt, no sandbox, and a message that says what to do."""
    client = site.client
    spec = await client.spec(HELLO, agent="bash", endpoint="scripted")
    first = await (await client.start(spec)).result()
    result = await (
        await client.start(await again(client, first, first.attempts[0], HELLO))
    ).result()
    assert result.failure is not None
    assert result.failure.cause is Cause.REPLAY_UNAVAILABLE
    assert "keep_workspace" in result.failure.message
    assert (len(result.attempts), result.attempts[0].sandbox_id) == (1, None)
    assert await client.store.get(keys.create_sent(result.attempts[0].attempt)) is None


def sandboxes_of(site: Site) -> AbstractAsyncContextManager[Sandboxes]:
    """The stack's sandboxes."""
    settings = site.stack.settings
    return Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key)


async def again(
    client: Client, result: RolloutResult, attempt: AttemptResult, task: Path
) -> RolloutSpec:
    """The spec that grades an attempt's work again, by the tests of a task."""
    graded_by = await client.spec(task, agent="bash", endpoint="scripted")
    point = ReplayPoint(kind=ReplayFrom.GRADE, attempt=attempt.attempt)
    update = {
        "id": f"{result.rollout}/grade",
        "task": graded_by.task,
        "replay_of": result.rollout,
        "replay": point,
        "keep_workspace": False,
    }
    return result.spec.model_copy(update=update)


async def _graded_late(client: Client, *, keep_workspace: bool = False) -> RolloutSpec:
    """A rollout whose one attempt is graded until it is let go."""
    spec = await client.spec(TASKS / "graded-late", agent="bash", endpoint="scripted")
    return spec.model_copy(update={"attempts": 1, "keep_workspace": keep_workspace})
