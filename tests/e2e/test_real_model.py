"""A real small model behind real agents: it need not solve a task, its trace must be whole."""

from collections.abc import Iterator

import pytest

from rolldock.models.result import Status
from rolldock.models.spec import Purpose, Sampling
from rolldock.trainer.client import Client
from tests.agent_cache import installed
from tests.e2e.runs import HELLO
from tests.llama import llama_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The real model."""
    with llama_server() as url:
        yield url


@pytest.mark.parametrize("agent", ["bash", "mini-swe-agent"])
async def test_a_real_models_trace_is_whole(client: Client, llama: str, agent: str) -> None:
    """Every turn has ids and log-probs as many as the server counted; the rollout is graded."""
    installed(agent)
    endpoint = await client.add_endpoint(f"smollm2-{agent}", url=llama, model="smollm2")
    assert endpoint.token_ids
    spec = await client.spec(
        HELLO,
        agent=agent,
        endpoint=endpoint.name,
        purpose=Purpose.TRAIN,
        sampling=Sampling(temperature=1, max_tokens=48, seed=7),
        limits={"max_turns": 2},
    )
    result = await (await client.start(spec)).result()
    assert result.status is Status.COMPLETED, result.failure
    turns = (await client.trace(result.rollout)).turns
    assert 1 <= len(turns) <= 2
    for turn in turns:
        # The server leaves out tokens that end within a character: then the turn says so.
        if turn.tokens is None:
            assert turn.tokens_missing
            continue
        assert len(turn.tokens.completion_ids) == len(turn.tokens.logprobs)
        assert len(turn.tokens.completion_ids) == turn.usage.output_tokens
    samples = await client.samples(result.rollout)
    assert sum(sum(sample.mask) for sample in samples) == sum(
        len(turn.tokens.completion_ids) for turn in turns if turn.tokens is not None
    )
