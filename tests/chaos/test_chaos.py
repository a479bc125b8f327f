"""The chosen chaos cases: whatever dies, stalls or misbehaves, nothing is lost or leaks."""

import time
import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from rolldock.models import names
from rolldock.models.result import Stage
from rolldock.models.spec import RolloutSpec
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from tests.chaos.cases import MOST_CHOSEN, choosable, chosen, pairs
from tests.chaos.play import expected_of, spec_of
from tests.chaos.scenes import Scene, chosen_scenes
from tests.chaos.verdict import judge
from tests.rollouts import host_sandbox

if TYPE_CHECKING:
    from tests.chaos.arena import Arena

on_the_arena = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(scene, id=scene.name, marks=on_the_arena)
        for scene in chosen_scenes()
        if not scene.tunnel
    ],
)
async def test_nothing_is_lost_and_nothing_leaks(struck: "Arena", scene: Scene) -> None:
    """The rollout ends as it should, its turns are asked once, no sandbox outlives a sweep."""
    outcome = await scene.play(struck)
    assert outcome.problems == ()


class TestTheVerdict:
    """What the suite asserts can fail: each breach is made on purpose."""

    pytestmark = on_the_arena

    async def test_it_sees_a_recorded_turn_that_is_asked_again(self, struck: "Arena") -> None:
        """A second call of the model for a slot whose turn is in the store."""
        spec = await _finished(struck)
        result = await struck.client.handle(spec.id).result()
        headers = {names.SESSION_HEADER: result.attempts[0].attempt, names.SLOT_HEADER: "1"}
        async with httpx.AsyncClient() as http:
            body = {"model": "scripted", "messages": [{"role": "user", "content": "again"}]}
            url = f"{struck.stack.scripted_url}/chat/completions"
            assert (await http.post(url, json=body, headers=headers)).is_success
        outcome = await judge(struck, spec.id, expected_of(Stage.GRADE), time.monotonic())
        assert outcome.problems == ("slot 1 was asked 1 times after it was recorded",)

    async def test_it_sees_a_sandbox_that_outlives_its_rollout(self, struck: "Arena") -> None:
        """A sandbox with the rollout's labels, made after its end; the sweep deletes it."""
        spec = await _finished(struck)
        left = await _leak(struck, spec)
        outcome = await judge(struck, spec.id, expected_of(Stage.GRADE), time.monotonic())
        assert outcome.problems == (f"left to the reaper: {left}",)

    async def test_it_sees_another_end(self, struck: "Arena") -> None:
        """A rollout that ends otherwise than its case says."""
        spec = await _finished(struck)
        outcome = await judge(struck, spec.id, expected_of(Stage.STOP_AGENT), time.monotonic())
        assert outcome.problems == ("stop reason agent_completed, not stopped",)


def test_the_choice_covers_every_pair_but_some_of_process_and_stage() -> None:
    """At most 25 cases; every other two values meet, and each process dies in several stages."""
    cases = chosen()
    assert len({case.id for case in cases}) == len(cases) <= MOST_CHOSEN
    covered = {pair for case in cases for pair in pairs(case)}
    missing = {pair for case in choosable() for pair in pairs(case)} - covered
    assert {frozenset(name for name, _ in pair) for pair in missing} == {
        frozenset({"process", "stage"})
    }
    for process in {case.process for case in cases}:
        assert len({case.stage for case in cases if case.process == process}) >= 3


async def _finished(arena: "Arena") -> RolloutSpec:
    """A rollout to which nothing was done."""
    await arena.heal()
    spec = await spec_of(arena, Stage.GRADE)
    await arena.client.start(spec)
    outcome = await judge(arena, spec.id, expected_of(Stage.GRADE), time.monotonic())
    assert outcome.problems == ()
    return spec


async def _leak(arena: "Arena", spec: RolloutSpec) -> str:
    """Create a sandbox of a rollout that has ended; its id."""
    settings, result = arena.client.settings, await arena.client.handle(spec.id).result()
    owner = Ownership(
        deployment=arena.client.deployment,
        rollout=spec.id,
        run=result.run,
        attempt=str(uuid.uuid4()),
    )
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes:
        return (await sandboxes.create(host_sandbox(owner)))[0]
