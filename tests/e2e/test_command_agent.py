"""Any program as an agent, and what every agent can be told: on a real stack."""

from pathlib import Path

import pytest

from rolldock.cli.asked_agent import asked_agent
from rolldock.models.result import RolloutResult, Status
from rolldock.models.spec import AgentRef
from rolldock.trainer.client import Client
from tests.e2e.runs import HELLO

NODE_AGENT = Path(__file__).parents[2] / "examples" / "agents" / "node-agent.toml"

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(
    client: Client, agent: AgentRef, endpoint: str | None = None, *, tell_deadline: bool = False
) -> RolloutResult:
    """One rollout of the hello-world task to its result."""
    spec = await client.spec(
        HELLO,
        agent=agent.name,
        agent_options=agent.options,
        agent_env=agent.env,
        endpoint=endpoint,
        tell_deadline=tell_deadline,
    )
    return await (await client.start(spec)).result()


async def test_a_program_in_another_language_solves_a_task(client: Client) -> None:
    """The example of the docs: one file of JavaScript, described by one file of TOML."""
    result = await run(client, asked_agent("command", config=NODE_AGENT), "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.trace is not None
    assert result.trace.n_turns >= 2
    assert result.agent_version is not None
    assert any(artifact.name.endswith("turns.jsonl") for artifact in result.artifacts)


async def test_an_agent_is_told_its_deadline_and_given_variables(client: Client) -> None:
    """It finds them in its environment, and the line below its instruction."""
    program = (
        'grep -q "$ROLLDOCK_DEADLINE" "$ROLLDOCK_INSTRUCTION_FILE" && '
        'test "$ROLLDOCK_DEADLINE" -gt "$(date +%s)" && printf "%s" "$GREETING" > hello.txt'
    )
    agent = AgentRef(
        name="command",
        options={"run": program, "format": "none"},
        env={"GREETING": "Hello, world!\n"},
    )
    result = await run(client, agent, tell_deadline=True)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
