"""Every list query of docs/temporal-ui.md, asked of a real Temporal server."""

import re
from pathlib import Path

import pytest

from rolldock.trainer.client import Client
from tests.eventually import eventually
from tests.temporal_ui.conftest import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = Path(__file__).parents[2] / "docs" / "temporal-ui.md"
QUERIES = re.findall(r"```sql\n(.*?)\n```", PAGE.read_text(), re.DOTALL)


async def found(client: Client, query: str) -> set[str]:
    """The rollouts that a query lists."""
    return {one.id async for one in client.temporal.list_workflows(query.replace("\n", " "))}


async def test_there_are_queries() -> None:
    """The page has its ready-made queries where this test looks for them."""
    assert len(QUERIES) >= 8


@pytest.mark.parametrize("query", QUERIES)
async def test_a_query_of_the_page_is_one(scene: Scene, query: str) -> None:
    """Temporal takes it as it stands."""
    await found(scene.client, query)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("RolldockExperiment = 'grpo-7' AND RolldockStage = 'await_agent'", {"running"}),
        ("RolldockExperiment = 'grpo-7' AND ExecutionStatus = 'Failed'", {"failed"}),
        ("RolldockReplayOf = 'grpo-7/12/hello-world/0'", {"replayed"}),
        ("RolldockExperiment = 'grpo-7' AND RolldockOutcome = 'reward_invalid'", {"failed"}),
    ],
)
async def test_a_query_finds_what_it_says(scene: Scene, query: str, wanted: set[str]) -> None:
    """The page's filters, filled in for rollouts that are there, list these and no others."""
    assert any(query.split(" = ")[-2].split()[-1] in known for known in QUERIES)
    ids = {
        "running": scene.running.id,
        "graded": scene.graded.rollout,
        "failed": scene.failed.rollout,
        "replayed": scene.replayed.rollout,
    }

    async def listed() -> bool:
        return await found(scene.client, query) == {ids[name] for name in wanted}

    # The list is written a little later than the history.
    await eventually(listed, f"{query} lists {wanted}", 30)
