"""mini-swe-agent and Terminus 2 as they come from PyPI, on a real stack."""

import json
from pathlib import Path

import pytest
from pydantic import JsonValue

from rolldock.models.result import Status, StopReason
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.e2e.real_agents import (
    ODD_INSTRUCTION,
    PYTHON_AGENTS,
    TOKEN_START,
    write_nobody_task,
)
from tests.e2e.runs import HELLO, run, sent_bodies

TURNS = {"mini-swe-agent": 3, "terminus-2": 4}
"""Of the hello-world script, at least: Terminus is told twice that it is done, and may wait."""
INHERITED = ("LITELLM", "MSWEA", "PYTHON", "LD_", "TIKTOKEN", "ROLLDOCK_API", "TERMINFO")
"""What begins the names of variables that no command may find."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.fixture(params=PYTHON_AGENTS)
def agent(request: pytest.FixtureRequest) -> str:
    """An agent that is installed in the cache of the stack."""
    return installed(str(request.param))


async def test_it_solves_a_task(client: Client, agent: str) -> None:
    """Reward 1; every byte that passed comes back from the trace; its own logs lack the key."""
    result = await run(client, HELLO, agent, "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert len(await sent_bodies(client, result)) >= TURNS[agent]
    kept = {artifact.name: artifact.digest for artifact in result.artifacts}
    logs = [name for name in kept if name.endswith(f"{agent}/trajectory.json")]
    assert logs, kept
    trajectory = json.loads(await client.store.get_blob(kept[logs[0]]))
    assert TOKEN_START not in json.dumps(trajectory)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mini-swe-agent", {"config": "mini_textbased"}),
        ("terminus-2", {"parser": "xml", "compact": True}),
    ],
)
async def test_it_solves_a_task_in_its_other_form(
    client: Client, name: str, options: dict[str, JsonValue]
) -> None:
    """Commands in blocks of code; answers in XML, with summaries switched on."""
    result = await run(client, HELLO, installed(name), "scripted", options=options)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(await sent_bodies(client, result)) >= TURNS[name]


async def test_it_works_as_a_user_without_a_home(
    client: Client, agent: str, tmp_path: Path
) -> None:
    """As nobody without a network, with 200 KB of quotes and other scripts, and braces; its
    commands find neither the key nor what the agent was started with."""
    task = tmp_path / "nobody"
    write_nobody_task(task)
    result = await run(client, task, agent, "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    bodies = [json.loads(body) for body in await sent_bodies(client, result)]
    opening = bodies[0]["messages"]
    assert ODD_INSTRUCTION in "".join(str(message["content"]) for message in opening)
    later = bodies[-1]["messages"][len(opening) :]
    said = "\n".join(str(message.get("content")) for message in later)
    assert "uid=65534" in said
    assert TOKEN_START not in said
    names = {line.partition("=")[0] for line in said.replace("\\n", "\n").splitlines()}
    assert "PWD" in names
    assert [name for name in names if name.startswith(INHERITED)] == []


async def test_a_system_prompt_stands_as_it_is(client: Client) -> None:
    """mini-swe-agent's are templates; one that is given is none."""
    prompt = 'Be "brief".\n{{ nothing }} {% if %} \\n über 你好 🐢'
    options: dict[str, JsonValue] = {"system_prompt": prompt}
    result = await run(client, HELLO, installed("mini-swe-agent"), "scripted", options=options)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    first = json.loads((await sent_bodies(client, result))[0])["messages"][0]
    assert first == {"role": "system", "content": prompt}


async def test_its_own_limit_of_turns_is_no_success(client: Client, agent: str) -> None:
    """max_turns 1 as its option: it ends by itself, its work is graded, its exit code is 1."""
    result = await run(client, HELLO, agent, "scripted", options={"max_turns": 1})
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_ERROR
    assert len(await sent_bodies(client, result)) == 1
