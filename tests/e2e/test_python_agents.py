"""mini-swe-agent and Terminus 2 as they come from PyPI, on a real stack."""

import hashlib
import json
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
AGENTS = ["mini-swe-agent", "terminus-2"]
TURNS = {"mini-swe-agent": 3, "terminus-2": 4}
"""Of the hello-world script, at least: Terminus is told twice that it is done, and may wait."""
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
INHERITED = ("LITELLM", "MSWEA", "PYTHON", "LD_", "TIKTOKEN", "ROLLDOCK_API", "TERMINFO")
"""What begins the names of variables that no command may find."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]


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


async def test_it_solves_a_task(client: Client, agent: str) -> None:
    """Reward 1; every byte that passed comes back from the trace; its own logs lack the key."""
    result = await run(client, HELLO, agent)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert len(await sent_bodies(client, result)) >= TURNS[agent]
    kept = {artifact.name: artifact.digest for artifact in result.artifacts}
    logs = [name for name in kept if name.endswith(f"{agent}/trajectory.json")]
    assert logs, kept
    trajectory = json.loads(await client.store.get_blob(kept[logs[0]]))
    assert "eyJ" not in json.dumps(trajectory)


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
    result = await run(client, HELLO, installed(name), options=options)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(await sent_bodies(client, result)) >= TURNS[name]


async def test_it_works_as_a_user_without_a_home(
    client: Client, agent: str, tmp_path: Path
) -> None:
    """As nobody without a network, with 200 KB of quotes and other scripts, and braces; its
    commands find neither the key nor what the agent was started with."""
    task = tmp_path / "nobody"
    shutil.copytree(HELLO, task)
    (task / "task.toml").write_text(NOBODY)
    odd = 'Say where you are. "Don\'t" `echo $HOME` \\\n\t你好 Ünïcödé 🐢 <b>&amp;</b> {{x}} {y}\n'
    instruction = odd + "לא " * (LONG // 5) + "\nThe end."
    (task / "instruction.md").write_text(instruction, encoding="utf-8")
    result = await run(client, task, agent)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    bodies = [json.loads(body) for body in await sent_bodies(client, result)]
    opening = bodies[0]["messages"]
    assert instruction in "".join(str(message["content"]) for message in opening)
    later = bodies[-1]["messages"][len(opening) :]
    said = "\n".join(str(message.get("content")) for message in later)
    assert "uid=65534" in said
    # How every session's token begins.
    assert "eyJ" not in said
    names = {line.partition("=")[0] for line in said.replace("\\n", "\n").splitlines()}
    assert "PWD" in names
    assert [name for name in names if name.startswith(INHERITED)] == []


async def test_a_system_prompt_stands_as_it_is(client: Client) -> None:
    """mini-swe-agent's are templates; one that is given is none."""
    prompt = 'Be "brief".\n{{ nothing }} {% if %} \\n über 你好 🐢'
    options: dict[str, JsonValue] = {"system_prompt": prompt}
    result = await run(client, HELLO, installed("mini-swe-agent"), options=options)
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    first = json.loads((await sent_bodies(client, result))[0])["messages"][0]
    assert first == {"role": "system", "content": prompt}


async def test_its_own_limit_of_turns_is_no_success(client: Client, agent: str) -> None:
    """max_turns 1 as its option: it ends by itself, its work is graded, its exit code is 1."""
    result = await run(client, HELLO, agent, options={"max_turns": 1})
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_ERROR
    assert len(await sent_bodies(client, result)) == 1


async def test_a_reached_budget_ends_it(client: Client, agent: str) -> None:
    """max_turns 1: the second call is refused, and the work so far is graded."""
    result = await run(client, HELLO, agent, limits={"max_turns": 1})
    assert result.status is Status.COMPLETED, result.failure
    assert result.stop_reason is StopReason.MAX_TURNS
    assert result.trace is not None
    assert result.trace.n_turns == 1


async def test_without_an_answer_it_has_failed(client: Client, agent: str) -> None:
    """A model server that refuses every call is no reward, and no agent that is done."""
    result = await run(client, NO_SCRIPT, agent)
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert result.failure.cause is Cause.NO_MODEL_CALL
    assert result.stop_reason is StopReason.AGENT_ERROR
