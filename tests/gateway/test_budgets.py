"""Budgets: reached ones write END with their reason and give one non-retryable error."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from openai import BadRequestError

from rolldock.gateway.budgets import LAUNCH_SLACK, Ledger
from rolldock.models.base import JsonObject
from rolldock.models.session import EndReason, Session, TurnClaim
from rolldock.models.spec import Delivery, Limits, Sampling
from rolldock.models.turn import Usage
from tests.gateway.conftest import World, gateway_process
from tests.gateway.model_server import Plan
from tests.gateway.test_chat import user

OVERFLOW: JsonObject = {"error": {"message": "This model's maximum context length is 1000 tokens."}}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_turns=2), EndReason.MAX_TURNS),
        (Limits(max_output_tokens=10), EndReason.TOKEN_BUDGET),
        (Limits(max_input_tokens=20), EndReason.TOKEN_BUDGET),
        (Limits(max_total_tokens=30), EndReason.TOKEN_BUDGET),
    ],
)
async def test_the_call_after_the_budget(world: World, limits: Limits, reason: EndReason) -> None:
    """Two turns fit; the third call ends the session and says why, and so does each later one."""
    attempt = await world.open(limits=limits)
    client = world.client(attempt)
    for text in "ab":
        await client.chat.completions.create(model="m", messages=[user(text)])
    for _ in range(2):
        with pytest.raises(BadRequestError) as refused:
            await client.chat.completions.create(model="m", messages=[user("c")])
        assert refused.value.code == reason.value
        assert "rollout stopped" in refused.value.message
    assert len(world.model.calls) == 2
    end = await world.log(attempt).ended()
    assert end is not None
    assert end.reason is reason
    assert end.by.startswith("gateway:")


async def test_open_calls_finish_after_a_budget_end(world: World) -> None:
    """The END of a budget lets a call that is open come to its end."""
    attempt = await world.open(limits=Limits(max_turns=1))
    client = world.client(attempt)
    gate = asyncio.Event()
    world.model.plans.append(Plan(gate=gate))
    asked = asyncio.create_task(
        client.chat.completions.create(model="m", messages=[user("hi")]), name="asked"
    )
    await world.model.arrived(1)
    with pytest.raises(BadRequestError):
        await client.chat.completions.create(model="m", messages=[user("ho")])
    gate.set()
    assert (await asked).choices[0].message.content == "Hello there."


async def test_budget_left_limits_the_next_call(world: World) -> None:
    """What is left of the output budget is the most that the next call may ask for."""
    attempt = await world.open(limits=Limits(max_output_tokens=8))
    client = world.client(attempt)
    for text in "ab":
        await client.chat.completions.create(model="m", messages=[user(text)], max_tokens=7)
    assert [call["max_tokens"] for call in world.model.calls] == [7, 3]


@pytest.mark.parametrize("limits", [Limits(max_turns=2), Limits(max_output_tokens=10)])
async def test_budgets_survive_the_gateway(own_world: World, limits: Limits) -> None:
    """What was spent before a kill -9 counts after it."""
    attempt = await own_world.open(limits=limits)
    client = own_world.client(attempt)
    for text in "ab":
        await client.chat.completions.create(model="m", messages=[user(text)])
    await own_world.delivered(attempt, 0, 1)
    own_world.gateway.kill_child()
    with pytest.raises(BadRequestError, match="rollout stopped"):
        await client.chat.completions.create(model="m", messages=[user("c")])
    assert len(own_world.model.calls) == 2


async def test_what_another_gateway_spends_counts(own_world: World, tmp_path: Path) -> None:
    """Two gateways, one session: what one records and claims, the other counts."""
    attempt = await own_world.open(limits=Limits(max_turns=3))
    with gateway_process(tmp_path / "store") as other:
        first, second = own_world.client(attempt), own_world.client(attempt, base=other.url)
        for client, text in ((first, "a"), (second, "b"), (first, "c")):
            await client.chat.completions.create(model="m", messages=[user(text)])
        with pytest.raises(BadRequestError, match="rollout stopped"):
            await second.chat.completions.create(model="m", messages=[user("d")])
    assert len(own_world.model.calls) == 3


async def test_parallel_branches(world: World) -> None:
    """Open calls have reserved their turn and their tokens: the next one gets what is left, or an
    even share; no more turns are made than the limit says."""
    attempt = await world.open(limits=Limits(max_turns=3, max_output_tokens=100))
    client = world.client(attempt)
    gate = asyncio.Event()
    asked: list[asyncio.Task[object]] = []
    for n_calls, text in enumerate("abc", start=1):
        world.model.plans.append(Plan(gate=gate, output_tokens=30))
        call = client.chat.completions.create(model="m", messages=[user(text)], max_tokens=80)
        asked.append(asyncio.create_task(call))
        await world.model.arrived(n_calls)
    with pytest.raises(BadRequestError) as refused:
        await client.chat.completions.create(model="m", messages=[user("d")])
    assert refused.value.code == "max_turns"
    gate.set()
    await asyncio.gather(*asked)
    assert [call["max_tokens"] for call in world.model.calls] == [80, 50, 33]
    claims = [await world.log(attempt).read_claim(slot) for slot in range(3)]
    reserved = [claim.reserved_output_tokens for claim in claims if isinstance(claim, TurnClaim)]
    assert reserved == [80, 50, 33]


@pytest.mark.parametrize("asked", [-1, 0, True, "80", 1e9])
async def test_no_token_limit_of_the_agents_undoes_a_budget(world: World, asked: object) -> None:
    """What is no positive number, such as the -1 that some servers take for no limit, is replaced
    by what the budget leaves."""
    attempt = await world.open(limits=Limits(max_output_tokens=20))
    client = world.client(attempt)
    await client.chat.completions.create(
        model="m", messages=[user("a")], extra_body={"max_completion_tokens": asked}
    )
    (sent,) = world.model.calls
    limits = [sent[key] for key in ("max_tokens", "max_completion_tokens") if key in sent]
    assert limits == [20]


@pytest.mark.parametrize("delivery", list(Delivery))
async def test_the_context_left_is_the_least(world: World, delivery: Delivery) -> None:
    """A call whose limit asks for more than the context has left is made with what is left."""
    attempt = await world.open(delivery=delivery)
    client = world.client(attempt)
    world.model.plans.append(Plan(status=400, error=OVERFLOW))
    stream = await client.chat.completions.create(
        model="m", messages=[user("a")], max_tokens=900, stream=True
    )
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]).strip()
    assert ["max_tokens" in call for call in world.model.calls] == [True, False]
    trace = await world.trace(attempt)
    assert (len(trace.turns), len(trace.errors)) == (1, 0)
    assert "max_tokens" not in trace.turns[0].sampling


async def test_a_prompt_that_is_too_long(world: World) -> None:
    """A prompt that fills the context alone is refused in the model server's words; the session
    goes on, for agents that compact."""
    attempt = await world.open(limits=Limits(max_output_tokens=50))
    client = world.client(attempt)
    world.model.plans.extend([Plan(status=400, error=OVERFLOW), Plan(status=400, error=OVERFLOW)])
    with pytest.raises(BadRequestError, match="maximum context length"):
        await client.chat.completions.create(model="m", messages=[user("a")])
    await client.chat.completions.create(model="m", messages=[user("b")])
    # The error gave back what its claim had reserved.
    assert world.model.calls[-1]["max_tokens"] == 50
    assert await world.log(attempt).ended() is None


async def test_no_two_calls_share_a_seed(world: World) -> None:
    """Branches from one point differ: each call's seed is the session's plus its slot, and the
    agent's own does not count."""
    attempt = await world.open(sampling=Sampling(seed=7))
    client = world.client(attempt)
    same = [
        client.chat.completions.create(model="m", messages=[user("a")], seed=1) for _ in range(3)
    ]
    await asyncio.gather(*same)
    assert sorted(int(str(call["seed"])) for call in world.model.calls) == [7, 8, 9]


async def test_a_wall_clock_that_nobody_watches(world: World) -> None:
    """A session whose agent should have been ended long ago takes no more calls."""
    attempt = str(uuid.uuid4())
    opened = datetime.now(UTC) - timedelta(seconds=100)
    session = Session(
        attempt=attempt,
        rollout="test/rollout",
        endpoint=world.endpoint,
        limits=Limits(agent_seconds=10),
        created_at=opened,
        expires_at=opened + timedelta(hours=1),
    )
    await world.log(attempt).open(session)
    with pytest.raises(BadRequestError) as refused:
        await world.client(attempt).chat.completions.create(model="m", messages=[user("a")])
    assert refused.value.code == "agent_timeout"
    assert world.model.calls == []
    end = await world.log(attempt).ended()
    assert end is not None
    assert end.reason is EndReason.AGENT_TIMEOUT


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def spent(limits: Limits, *usages: Usage) -> Ledger:
    """A ledger after some turns."""
    ledger = Ledger(limits, NOW)
    for slot, usage in enumerate(usages):
        ledger.reserve(slot, 0)
        ledger.settle(slot, usage)
    return ledger


def test_no_limits_no_budget() -> None:
    """A session without limits is ended by nothing but its agent's seconds."""
    ledger = spent(Limits(), Usage(input_tokens=10**9, output_tokens=10**9))
    assert ledger.reached(NOW) is None
    assert ledger.output_left(1) is None
    late = NOW + timedelta(seconds=Limits().agent_seconds) + LAUNCH_SLACK
    assert ledger.reached(late) is EndReason.AGENT_TIMEOUT


def test_an_error_spends_nothing() -> None:
    """What an error's claim reserved is free again, its turn too."""
    ledger = Ledger(Limits(max_turns=1, max_output_tokens=10), NOW)
    ledger.reserve(0, 10)
    assert ledger.reached(NOW) is EndReason.MAX_TURNS
    ledger.settle(0, None)
    assert ledger.reached(NOW) is None
    assert ledger.output_left(1) == 10


def test_a_slots_own_reservation_is_its_own() -> None:
    """A slot that is asked again may use what it has reserved itself."""
    ledger = Ledger(Limits(max_output_tokens=10), NOW)
    ledger.reserve(0, 10)
    assert (ledger.output_left(0), ledger.output_left(1)) == (10, 5)


def test_the_total_bounds_the_output() -> None:
    """Of output and total budget, the one that leaves less counts; one token is always left."""
    limits = Limits(max_output_tokens=100, max_total_tokens=120)
    assert spent(limits, Usage(input_tokens=50, output_tokens=10)).output_left(1) == 60
    assert spent(limits, Usage(input_tokens=200)).output_left(1) == 1
