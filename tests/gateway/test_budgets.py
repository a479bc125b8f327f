"""Budgets: reached ones write END with their reason and give one non-retryable error."""

import asyncio

import pytest
from openai import BadRequestError

from rolldock.gateway.budgets import Spent, output_left, reached
from rolldock.models.session import EndReason
from rolldock.models.spec import Limits
from tests.gateway.conftest import World
from tests.gateway.model_server import Plan
from tests.gateway.test_chat import user


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


def test_no_limits_no_budget() -> None:
    """A session without limits is never ended by one."""
    spent = Spent(turns=10**6, input_tokens=10**9, output_tokens=10**9)
    assert reached(Limits(), spent, 10) is None
    assert output_left(Limits(), spent) is None
