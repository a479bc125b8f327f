"""The chosen chaos cases of the tunnel: a rollout outlives it, and so does its URL if it can."""

from typing import TYPE_CHECKING

import pytest

from tests.chaos.scenes import Scene, chosen_scenes

if TYPE_CHECKING:
    from tests.chaos.arena import Arena


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    "scene", [pytest.param(scene, id=scene.name) for scene in chosen_scenes() if scene.tunnel]
)
async def test_a_rollout_outlives_the_tunnel(tunnelled: "Arena", scene: Scene) -> None:
    """What holds of every rollout holds behind a tunnel; only a lost registration costs its URL."""
    outcome = await scene.play(tunnelled)
    assert outcome.problems == ()
