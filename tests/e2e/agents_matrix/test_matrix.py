"""Every agent of the registry, as its makers ship it, in every scene, in its own wire format."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import pytest_asyncio

from rolldock.agents.agent import Agent
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Fault
from rolldock.models.result import RolloutResult, Status
from rolldock.models.spec import Purpose, RolloutSpec
from rolldock.models.trace import Trace
from rolldock.trainer.client import Client
from tests.e2e.agents_matrix.matrix_table import Row
from tests.e2e.agents_matrix.scenes import KILLED, SCENES, WAITING, Scene
from tests.e2e.real_agents import HASTY
from tests.e2e.waiting import waiting_rollout
from tests.rollouts import alive

AT_ONCE = 3
"""Rollouts of one agent: two cores have no use for more."""
REFUSALS = Fault(
    method="POST",
    path="/v1/(chat/completions|messages|responses)",
    action=Answer(status=503),
    skip=1,
    times=2,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]


@dataclass(frozen=True)
class Played:
    """How one scene has ended."""

    scene: Scene
    result: RolloutResult
    trace: Trace


async def asked(client: Client, agent: Agent, scene: Scene) -> RolloutSpec:
    """A scene as a spec."""
    return await client.spec(
        scene.task,
        agent=agent.name,
        agent_options=HASTY.get(agent.name),
        endpoint=scene.endpoint,
        limits=scene.limits,
        purpose=scene.purpose,
        sampling=scene.sampling,
    )


async def noted(
    client: Client, rows: list[Row], agent: Agent, name: str, result: RolloutResult
) -> Trace:
    """The trace of a result, which has a line in the table from now on."""
    trace = await client.trace(result.rollout)
    others = {turn.upstream for turn in trace.turns} - {agent.dialect}
    rows.append(Row(" as ".join([str(agent.dialect), *sorted(others)]), name, result))
    return trace


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def played(
    client: Client, agent: Agent, endpoints: None, faults: FaultClient, rows: list[Row]
) -> Mapping[str, Played]:
    """What came of each scene that an agent was put into, a few at a time."""
    await faults.clear()
    await faults.add(REFUSALS)
    specs = {name: await asked(client, agent, scene) for name, scene in SCENES.items()}
    running = client.run(specs.values(), AT_ONCE)
    results = {result.rollout: result async for result in running}
    done: dict[str, Played] = {}
    for name, spec in specs.items():
        result = results[spec.id]
        trace = await noted(client, rows, agent, name, result)
        done[name] = Played(SCENES[name], result, trace)
    assert [kept.hits for kept in (await faults.state()).faults] == [REFUSALS.times]
    return done


def check(played: Played, agent: Agent) -> None:
    """It ended as its scene says, in one attempt, and every turn was asked for as it should be."""
    scene, result, trace = played.scene, played.result, played.trace
    assert (result.status, result.reward) == (Status.COMPLETED, scene.reward), result.failure
    assert result.stop_reason is scene.stop_reason
    assert len(result.attempts) == 1
    assert result.agent_version == agent.version
    is_native = scene.purpose is Purpose.EVAL
    expected = agent.dialect if is_native else "openai.chat"
    assert {turn.upstream for turn in trace.turns} == {expected}
    if scene.n_turns is None:
        assert len(trace.turns) >= 2
    else:
        assert len(trace.turns) == scene.n_turns
    assert [turn.parent for turn in trace.turns] == [None, *range(len(trace.turns) - 1)]


@pytest.mark.parametrize("name", SCENES)
async def test_every_scene_ends_as_it_should(
    client: Client, agent: Agent, played: Mapping[str, Played], name: str
) -> None:
    """Solved, failed, out of turns, refused by its model, refused twice, translated to chat.

    Other servers' keys and addresses in the task's environment change nothing.
    """
    check(played[name], agent)
    assert await alive(client, played[name].result.rollout) == []


async def test_a_chat_server_gives_what_can_be_trained_on(played: Mapping[str, Played]) -> None:
    """Ids and log-probs of every turn, in one sample where the agent only ever appends."""
    translated = played["chat only, to train"]
    assert translated.result.trainable, translated.result.not_trainable_because
    for turn in translated.trace.turns:
        assert turn.tokens is not None, turn.tokens_missing
        n_tokens = len(turn.tokens.completion_ids)
        assert n_tokens == len(turn.tokens.logprobs) == turn.usage.output_tokens > 0


async def test_a_lasting_error_is_recorded(played: Mapping[str, Played]) -> None:
    """In the model server's words; the work until then was graded."""
    errors = played["model error, lasting"].trace.errors
    assert {error.upstream_status for error in errors} == {404}
    assert "does not exist any more" in errors[0].message


async def test_kill_9_of_the_worker_leaves_it_running(
    stack: Stack, client: Client, agent: Agent, endpoints: None, rows: list[Row]
) -> None:
    """The agent's process keeps its pid, no turn is asked for twice, and its work is graded."""
    spec = await asked(client, agent, WAITING)
    async with asyncio.timeout(180), waiting_rollout(stack, client, spec) as waiting:
        before = await waiting.agent()
        stack.kill("worker")
        await stack.ready("worker")
        assert await waiting.agent() == before
        result = await waiting.let_go()
    trace = await noted(client, rows, agent, KILLED, result)
    check(Played(WAITING, result, trace), agent)
