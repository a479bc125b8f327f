"""Rollouts as Temporal has them, where no worker takes them: started, paused, ended."""

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.client import Client as Temporal
from temporalio.common import SearchAttributeKey

from rolldock.errors import UnavailableError, UsageError
from rolldock.models import names
from rolldock.models.endpoint import Endpoint
from rolldock.models.replay import ReplayFrom
from rolldock.models.spec import AgentRef, RolloutSpec, TaskRef
from rolldock.settings import Settings
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.client import Client
from rolldock.trainer.handle import RolloutHandle
from rolldock.trainer.live import LiveQuery
from rolldock.trainer.replay_request import ReplayRequest
from rolldock.trainer.replaying import ReplayPlan, plan_replays, start_replays
from rolldock.trainer.runs import Runs
from tests.ended import conversation, end_rollout, spec_of
from tests.eventually import eventually
from tests.trainer.pausing import pause

FORK = ReplayRequest(kind=ReplayFrom.TURN, turn=1)
REPLAY_OF = SearchAttributeKey.for_keyword_list(names.ATTRIBUTE_REPLAY_OF)


@pytest.fixture
def client(temporal: Temporal, tmp_path: Path) -> Client:
    """A client with a fresh store."""
    return Client(temporal, Store.open(str(tmp_path)), Settings(), "ours")


async def silent(client: Client, rollout: str, **fields: object) -> RolloutSpec:
    """The spec of a rollout that calls no model."""
    task = TaskRef(name="task", digest=await client.store.put_blob(b"bundle"))
    return spec_of(rollout, agent=AgentRef(name="nop"), endpoint=None, task=task, **fields)


async def origins_of(client: Client, rollout: str) -> list[str]:
    """What Temporal was told that a rollout replays, and what that one replays."""
    described = await client.temporal.get_workflow_handle(rollout).describe()
    return list(described.typed_search_attributes.get(REPLAY_OF) or ())


async def test_long_lines_of_replays_can_be_started(client: Client) -> None:
    """As many origins as Temporal takes are named, the nearest first: of 16 of 200 characters ten,
    and the thirtieth fork of a fork is started as the first."""
    line = [f"{number:02}".ljust(200, "x") for number in range(17)]
    for origin, one in zip([None, *line], line, strict=False):
        await end_rollout(client.store, await silent(client, one, replay_of=origin))
    last = await client.start(await silent(client, "last", replay_of=line[-1]))
    assert await origins_of(client, last.id) == line[:-11:-1]

    record = Endpoint(
        name="model",
        version=1,
        replicas=("http://127.0.0.1:1/v1",),
        model="m",
        token_ids=True,
        created_at=datetime.now(UTC),
    )
    await endpoints.add(client.store, record)
    task = TaskRef(name="task", digest=await client.store.put_blob(b"bundle"))
    spec = spec_of("grpo-7/12/hello/0", task=task)
    for _ in range(30):
        await end_rollout(client.store, spec, conversation(1))
        plan = await plan_replays(client.store, [spec.id], FORK)
        [fork], refused = await start_replays(client.store, client.start, plan)
        assert not refused
        assert (await origins_of(client, fork.id))[0] == spec.id
        [spec] = plan.specs


async def test_what_temporal_refuses_keeps_nobody_back(client: Client) -> None:
    """A refused start is a usage error that names the rollout; the others' handles are returned."""
    await end_rollout(client.store, await silent(client, "origin"))
    specs = [await silent(client, name, replay_of="origin") for name in ("a", "b", "c")]
    too_long = await silent(client, "b", replay_of="origin", group="g")
    limited = too_long.model_copy(update={"group": "g" * 3000})
    with pytest.raises(UsageError, match=r"'b' .*invalid_argument.*size limit"):
        await client.start(limited)
    plan = ReplayPlan(specs=(specs[0], limited, specs[2]))
    started, [refusal] = await start_replays(client.store, client.start, plan)
    assert [handle.id for handle in started] == ["a", "c"]
    assert "'b'" in refusal.why


async def test_a_store_that_goes_away_leaves_the_handles_of_what_was_started(
    client: Client,
) -> None:
    """What was not tried is named too; where nothing was started the error stands."""
    specs = tuple([await silent(client, f"{n:02}", replay_of="origin") for n in range(20)])
    answers = 3

    async def start(spec: RolloutSpec) -> RolloutHandle:
        if int(spec.id) >= answers:
            raise UnavailableError("no answer")
        return client.handle(spec.id)

    started, refused = await start_replays(client.store, start, ReplayPlan(specs=specs))
    assert [handle.id for handle in started] == ["00", "01", "02"]
    assert [one.why for one in refused] == ["no answer"] * 13 + ["not tried: no answer"] * 4
    answers = 0
    with pytest.raises(UnavailableError, match="no answer"):
        await start_replays(client.store, start, ReplayPlan(specs=specs))


async def test_a_paused_rollout_is_not_over(client: Client) -> None:
    """It has a status, is listed, can be found again, waited for and cancelled."""
    spec = await silent(client, "paused")
    handle = await client.start(spec)
    await pause(client.temporal, spec.id)
    status = await handle.status()
    assert (status.state, status.stage) == ("running", "waiting")
    assert "paused" in (status.problem or "")
    assert (await client.start(spec)).id == spec.id
    assert await Runs(client.temporal).is_open(spec.id)

    async def is_listed() -> bool:
        query = "ExecutionStatus = 'Paused'"
        return (await client.temporal.count_workflows(query)).count == 1

    await eventually(is_listed, "the pause is listed")
    assert await client.count_live(LiveQuery(experiment=spec.experiment)) == 1
    assert [one.id for one in await client.live(limit=5)] == [spec.id]
    waiting = asyncio.create_task(handle.result())
    done, _ = await asyncio.wait([waiting], timeout=0.5)
    assert not done
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await handle.cancel()
    await handle.stop()


async def test_stopping_what_is_over_or_unknown(client: Client) -> None:
    """Quiet for what has ended, also where only its result is left; an unknown id is named."""
    handle = await client.start(await silent(client, "ended"))
    await client.temporal.get_workflow_handle(handle.id).terminate("a test")
    await end_rollout(client.store, await silent(client, "forgotten"))
    nobody = re.escape("no rollout 'nobody': `rolldock ls` lists them")
    for known in (handle, client.handle("forgotten")):
        await known.stop()
        await known.cancel()
    with pytest.raises(UsageError, match=nobody):
        await client.handle("nobody").stop()
    with pytest.raises(UsageError, match=nobody):
        await client.handle("nobody").cancel()
