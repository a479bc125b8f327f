"""Agents that run again on what was recorded, and forks: on a real stack, with a counted model."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from rolldock.faults.client import FaultClient
from rolldock.models.failure import Cause
from rolldock.models.replay import OnDivergence, ReplayFrom, ReplayPoint
from rolldock.models.result import RolloutResult, Status, StopReason
from rolldock.models.session import EndReason
from rolldock.models.spec import Purpose, RolloutSpec, Sampling
from rolldock.scripted.script import load_scripts
from rolldock.scripted.server import serve
from rolldock.store import keys
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.e2e.runs import HELLO, TASKS, run, sent_bodies
from tests.llama import llama_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNTED: Final = "counted"
"""The endpoint whose model server counts its calls."""

AGENTS: Final = [
    "bash",
    *(
        pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(400)])
        for name in ("opencode", "mini-swe-agent", "claude-code", "codex", "terminus-2")
    ),
]

FOUR_TURNS: Final = """
import json, os, urllib.request
url = os.environ["ROLLDOCK_BASE_URL"] + "/chat/completions"
key = "Bearer " + os.environ["ROLLDOCK_API_KEY"]
headers = {"Authorization": key, "Content-Type": "application/json"}
messages = []
for text in ("Name a colour.", "Name an animal.", "Name a town.", "Name a tree."):
    messages.append({"role": "user", "content": text})
    body = json.dumps({"model": os.environ["ROLLDOCK_MODEL"], "messages": messages}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
        messages.append(json.load(reply)["choices"][0]["message"])
"""
"""An agent that asks four times, whatever the model says."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def model(client: Client, scripts: Path) -> AsyncIterator[FaultClient]:
    """The scripted model behind the endpoint `counted`, with its journal."""
    async with serve(load_scripts(scripts), faults=True) as address, FaultClient(address) as faults:
        await client.add_endpoint(COUNTED, url=f"{address}/v1", model="scripted")
        yield faults


def replay_of(origin: RolloutResult, **changes: object) -> RolloutSpec:
    """The spec of a replay of a finished rollout, from its last attempt's recording."""
    fields: dict[str, object] = {
        "kind": ReplayFrom.RECORDING,
        "attempt": origin.attempts[-1].attempt,
    }
    point = {key: changes.pop(key) for key in ("kind", "turn", "on_divergence") if key in changes}
    update: dict[str, object] = {
        "id": f"test/replay/{uuid.uuid4()}",
        "replay_of": origin.rollout,
        "replay": ReplayPoint.model_validate(fields | point),
    }
    return origin.spec.model_copy(update=update | changes)


async def started(client: Client, spec: RolloutSpec) -> RolloutResult:
    """A rollout of this spec to its result."""
    return await (await client.start(spec)).result()


@pytest.mark.parametrize("agent", AGENTS)
async def test_the_same_reward_without_a_model(
    client: Client, model: FaultClient, agent: str
) -> None:
    """The agent runs again in a fresh sandbox: equal reward, every turn replayed, every byte
    there, no call to the model server; nothing of it is trained on."""
    if agent != "bash":
        installed(agent)
    origin = await run(client, HELLO, agent, COUNTED)
    assert (origin.status, origin.reward) == (Status.COMPLETED, 1.0), origin.failure
    n_calls = len(await model.journal())
    result = await started(client, replay_of(origin))
    assert len(await model.journal()) == n_calls
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.stop_reason is StopReason.AGENT_COMPLETED
    assert result.trace is not None
    assert origin.trace is not None
    assert result.trace.n_replayed == result.trace.n_turns == origin.trace.n_turns
    assert (result.trace.input_tokens, result.trace.output_tokens) == (
        origin.trace.input_tokens,
        origin.trace.output_tokens,
    )
    await sent_bodies(client, result)
    trained = replay_of(origin, purpose=Purpose.TRAIN)
    if agent == "bash":
        of_training = await started(client, trained)
        assert of_training.reward == 1.0, of_training.failure
        assert of_training.not_trainable_because == "its turns were replayed"


async def test_no_endpoint_is_needed(client: Client, model: FaultClient) -> None:
    """A replay of an endpoint that nobody added is started, and answered."""
    origin = await run(client, HELLO, "bash", COUNTED)
    result = await started(client, replay_of(origin, endpoint="never-added"))
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure


async def test_a_drifted_replay_names_turn_and_field(client: Client, model: FaultClient) -> None:
    """A program that tells the time in words: the replay stops at its output, and says so; by
    choice it goes on with the model, and keeps the report."""
    origin = await run(client, TASKS / "tells-time", "bash", COUNTED)
    assert origin.reward == 1.0, origin.failure
    n_calls = len(await model.journal())
    result = await started(client, replay_of(origin))
    assert len(await model.journal()) == n_calls
    assert (result.status, result.reward) == (Status.FAILED, None)
    assert result.failure is not None
    assert result.failure.cause is Cause.REPLAY_DIVERGED
    assert "turn 1" in result.failure.message
    assert "messages[3].content" in result.failure.message
    assert len(result.attempts) == 1
    trace = await client.trace(result.rollout)
    assert trace.end_reason is EndReason.REPLAY_DIVERGED
    report = trace.errors[0].divergence
    assert report is not None
    assert "-It is" in report.diff

    live = await started(client, replay_of(origin, on_divergence=OnDivergence.LIVE))
    assert live.reward == 1.0, live.failure
    turns = (await client.trace(live.rollout)).turns
    assert [turn.replayed is not None for turn in turns] == [True, False]
    assert turns[1].diverged is not None
    assert len(await model.journal()) == n_calls + 1


async def test_a_recording_that_is_gone(client: Client, model: FaultClient) -> None:
    """The attempt fails before its agent is launched, with a cause of its own."""
    origin = await run(client, HELLO, "bash", COUNTED)
    spec = replay_of(origin)
    gone = ReplayPoint(kind=ReplayFrom.RECORDING, attempt=str(uuid.uuid4()))
    result = await started(client, spec.model_copy(update={"replay": gone}))
    assert result.failure is not None
    assert result.failure.cause is Cause.REPLAY_UNAVAILABLE


async def test_a_recording_that_is_damaged(client: Client, model: FaultClient) -> None:
    """Its agent gets no answer: the failure says what is damaged, and there is no new attempt."""
    origin = await run(client, HELLO, "bash", COUNTED)
    spec = replay_of(origin)
    assert spec.replay is not None
    name = keys.trace(spec.replay.attempt)
    await client.store.delete(name)
    await client.store.create(name, b'{"attempt":')
    result = await started(client, spec)
    assert result.failure is not None
    assert result.failure.cause is Cause.REPLAY_UNAVAILABLE
    assert f"attempt {spec.replay.attempt} is damaged: its trace:" in result.failure.message
    assert len(result.attempts) == 1


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The real model."""
    with llama_server() as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_four_forks_share_two_turns(client: Client, llama: str) -> None:
    """Forked at the second turn with seeds of their own, on a real small model: four traces that
    share two turns and differ after; what trains is live, what was played is its prompt."""
    endpoint = await client.add_endpoint("smollm2-fork", url=llama, model="smollm2")
    spec = await client.spec(
        HELLO,
        agent="command",
        agent_options={
            "run": "python3 $ROLLDOCK_AGENT_HOME/ask.py",
            "programs": {"ask.py": FOUR_TURNS},
        },
        endpoint=endpoint.name,
        purpose=Purpose.TRAIN,
        sampling=Sampling(temperature=1, max_tokens=24, seed=7),
    )
    origin = await started(client, spec)
    assert origin.status is Status.COMPLETED, origin.failure
    said: set[str] = set()
    for seed in (100, 200, 300, 400):
        sampling = spec.sampling.model_copy(update={"seed": seed})
        fork = replay_of(origin, kind=ReplayFrom.TURN, turn=1, sampling=sampling)
        result = await started(client, fork)
        assert result.status is Status.COMPLETED, result.failure
        trace = await client.trace(result.rollout)
        played = [turn.replayed and turn.replayed.slot for turn in trace.turns]
        assert played == [0, 1, None, None]
        said.add("\n".join(str(turn.message["content"]) for turn in trace.turns[2:]))
        samples = await client.samples(result.rollout)
        trained = [span.slot for one in samples for span in one.spans if span.trains]
        with_ids = [turn.slot for turn in trace.turns[2:] if turn.tokens is not None]
        assert sorted(trained) == with_ids
        assert sum(sum(one.mask) for one in samples) == sum(
            len(turn.tokens.completion_ids) for turn in trace.turns[2:] if turn.tokens is not None
        )
    assert len(said) == 4
