"""Claude Code and Codex as they come from npm, on a real stack: each speaks its own wire format."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from rolldock.gateway.rebuild import Rebuilder
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Status, StopReason
from rolldock.trainer.client import Client
from tests.agent_cache import installed

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "tasks" / "hello-world"
NO_SCRIPT = ROOT / "tests" / "tasks" / "no-script"
AGENTS = ["claude-code", "codex"]
NOBODY = """
schema_version = "1.4"

[agent]
timeout_sec = 600
user = "nobody"

[environment]
network_mode = "no-network"

[environment.healthcheck]
command = "install -d -m 777 /app"
"""
LONG = 200 * 1024
HASTY: dict[str, dict[str, JsonValue]] = {
    # It would try for minutes what can never go well.
    "codex": {"extra_config": {"model_providers": {"rolldock": {"stream_max_retries": 2}}}}
}

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest) -> str:
    """An agent that is installed in the cache of the stack."""
    return installed(str(request.param))


async def run(
    client: Client,
    task: Path,
    agent: str,
    *,
    limits: Mapping[str, float | int | None] | None = None,
    options: Mapping[str, JsonValue] | None = None,
) -> RolloutResult:
    """One rollout with the scripted model, under an id of its own."""
    spec = await client.spec(
        task, agent=agent, endpoint="scripted", limits=limits, agent_options=options
    )
    return await (await client.start(spec)).result()


async def sent_bodies(client: Client, result: RolloutResult) -> list[bytes]:
    """What the model server was asked, turn by turn; every byte is checked against its digest."""
    trace = await client.trace(result.rollout)
    calls = Rebuilder(client.store, trace.attempt, trace.turns)
    bodies: list[bytes] = []
    for turn in trace.turns:
        bodies.append(await calls.sent(turn.slot))
        assert sha256(bodies[-1]) == turn.sent.digest
        assert sha256(await calls.request(turn.slot)) == turn.request.digest
        assert sha256(await calls.reply(turn.slot)) == turn.reply.digest
        assert sha256(await calls.delivered(turn.slot) or b"") == turn.delivered_digest
    return bodies


def sha256(content: bytes) -> str:
    """The digest of bytes as records name it."""
    return hashlib.sha256(content).hexdigest()


async def test_it_solves_a_task_with_tool_calls(client: Client, agent: str) -> None:
    """Reward 1; every byte that passed comes back from the trace; its own logs are kept."""
    result = await run(client, HELLO, agent)
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
    shutil.copytree(HELLO, task)
    (task / "task.toml").write_text(NOBODY)
    odd = 'Say where you are. "Don\'t" `echo $HOME` \\\n\t你好 Ünïcödé 🐢 <b>&amp;</b>\n'
    instruction = odd + "לא " * (LONG // 5) + "\nThe end."
    (task / "instruction.md").write_text(instruction, encoding="utf-8")
    result = await run(client, task, agent)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    bodies = [body.decode() for body in await sent_bodies(client, result)]
    assert "לא " * (LONG // 5) in bodies[0]
    assert "你好 Ünïcödé 🐢 <b>&amp;</b>" in bodies[0]
    said = bodies[1]
    assert "uid=65534" in said
    assert "ROLLDOCK_API_KEY" not in said
    # How every session's token begins.
    assert "eyJ" not in said


async def test_a_reached_budget_ends_it(client: Client, agent: str) -> None:
    """max_turns 1: the second call is refused, and the work so far is graded."""
    result = await run(client, HELLO, agent, limits={"max_turns": 1})
    assert result.status is Status.COMPLETED, result.failure
    assert result.stop_reason is StopReason.MAX_TURNS
    assert result.trace is not None
    assert result.trace.n_turns == 1


async def test_without_an_answer_it_has_failed(client: Client, agent: str) -> None:
    """A model server that refuses every call is no reward, and no agent that is done."""
    result = await run(client, NO_SCRIPT, agent, options=HASTY.get(agent))
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert result.failure.cause is Cause.NO_MODEL_CALL
    assert result.stop_reason is StopReason.AGENT_ERROR
