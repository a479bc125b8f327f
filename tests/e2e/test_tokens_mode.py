"""A whole rollout in mode `tokens`: a real agent in a real sandbox trains on exact tokens."""

from pathlib import Path

import pytest

from rolldock.models.endpoint import EngineMode
from rolldock.models.spec import Sampling
from rolldock.trainer.client import Client
from tests.e2e.runs import HELLO
from tests.gateway.tokens_mode.conftest import calling, check_samples
from tests.gateway.tokens_mode.generate_server import MODEL, GenerateServer
from tests.gateway.tokens_mode.tiny_model import write_tokenizer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_rollout_is_one_trainable_sample(client: Client, tmp_path: Path) -> None:
    """`add_endpoint`, a rollout with reward 1, and `samples` with the tokens that were sampled."""
    server = GenerateServer()
    await server.start()
    try:
        await client.add_endpoint(
            "tiny",
            url=server.url,
            model=MODEL,
            mode=EngineMode.TOKENS,
            tokenizer=write_tokenizer(tmp_path / "model"),
            renderer="qwen3",
        )
        server.say(
            calling("printf 'Hello, world!\\\\n' > hello.txt", before="I write it.\n"),
            calling("od -c hello.txt"),
            "Done.",
        )
        spec = await client.spec(
            HELLO, agent="bash", endpoint="tiny", sampling=Sampling(temperature=1.0)
        )
        result = await (await client.start(spec)).result()
    finally:
        await server.stop()
    assert (result.reward, result.trainable) == (1.0, True), result
    assert result.trace is not None
    assert (result.trace.n_turns, result.trace.n_clean, result.trace.n_samples) == (3, 2, 1)
    trace = await client.trace(result.rollout)
    given = {slot: each.tokens for slot, each in server.of(trace.attempt).items()}
    check_samples(trace, given)
    [sample] = await client.samples(result.rollout)
    assert sum(sample.mask) == sum(len(each.completion_ids) for each in given.values())
