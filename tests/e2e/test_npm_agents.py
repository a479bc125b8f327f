"""Claude Code and Codex as they come from npm, on a real stack: each speaks its own wire format."""

from pathlib import Path

import pytest

from rolldock.models.result import Status, StopReason
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.e2e.real_agents import MANY_WORDS, NPM_AGENTS, TOKEN_START, write_nobody_task
from tests.e2e.runs import HELLO, run, sent_bodies

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(params=NPM_AGENTS)
def agent(request: pytest.FixtureRequest) -> str:
    """An agent that is installed in the cache of the stack."""
    return installed(str(request.param))


async def test_it_solves_a_task_with_tool_calls(client: Client, agent: str) -> None:
    """Reward 1; every byte that passed comes back from the trace; its own logs are kept."""
    result = await run(client, HELLO, agent, "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert len(await sent_bodies(client, result)) == 3
    kept = [artifact.name for artifact in result.artifacts]
    assert any(name.endswith(f"{agent}/events.jsonl") for name in kept), kept
    sessions = {"claude-code": "/projects/", "codex": "/sessions/"}[agent]
    assert any(sessions in name for name in kept), kept


async def test_it_works_as_a_user_without_a_home(
    client: Client, agent: str, tmp_path: Path
) -> None:
    """As nobody, with 200 KB of quotes and other scripts, its commands without the key."""
    task = tmp_path / "nobody"
    write_nobody_task(task)
    result = await run(client, task, agent, "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    bodies = [body.decode() for body in await sent_bodies(client, result)]
    assert MANY_WORDS in bodies[0]
    assert "你好 Ünïcödé 🐢 <b>&amp;</b>" in bodies[0]
    said = bodies[1]
    assert "uid=65534" in said
    assert "ROLLDOCK_API_KEY" not in said
    assert TOKEN_START not in said
