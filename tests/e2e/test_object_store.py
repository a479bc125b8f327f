"""Whole rollouts on a store that is S3's protocol, and on one that loses its answers."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Drop, Fault
from rolldock.models.result import Status
from rolldock.trainer.client import Client
from tests.agent_cache import AGENT_CACHE
from tests.e2e.runs import HELLO, run, sent_bodies
from tests.rollouts import alive
from tests.store.s3_server import BUCKET, S3Server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s3() -> AsyncGenerator[S3Server]:
    """A server that stores of this process reach."""
    with pytest.MonkeyPatch.context() as environment:
        async with S3Server() as server:
            for name, value in server.environment.items():
                environment.setenv(name, value)
            yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_s3(
    s3: S3Server, scripts: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Client]:
    """A client of a stack whose store is that server."""
    options = StackOptions(
        home=tmp_path_factory.mktemp("home"),
        auto_ports=True,
        agent_cache=AGENT_CACHE,
        store=f"s3://{BUCKET}/rollouts",
        scripts=scripts,
        environment=s3.environment,
    )
    async with Stack(options) as stack:
        client = await Client.connect(stack.settings)
        await client.add_endpoint("scripted", url=stack.scripted_url, model="scripted")
        yield client


async def test_a_rollout_is_recorded_on_s3(on_s3: Client) -> None:
    """Graded, every request and reply rebuilt from the trace, the sandbox gone."""
    result = await run(on_s3, HELLO, "bash", "scripted")
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert len(await sent_bodies(on_s3, result)) >= 2
    assert await alive(on_s3, result.rollout) == []


async def test_a_store_that_loses_its_answers_costs_nothing(on_s3: Client, s3: S3Server) -> None:
    """A third of the writes take effect without an answer, a tenth of the reads fail: the same
    turns, and a budget of exactly as many turns is not reached by writes that were repeated."""
    quiet = await run(on_s3, HELLO, "bash", "scripted")
    assert quiet.trace is not None
    limits = {"max_turns": quiet.trace.n_turns}
    async with FaultClient(s3.origin) as faults:
        for fault in (
            Fault(method="PUT", path=".*claim", action=Drop(when="after")),
            Fault(method="PUT", path=".*", action=Drop(when="after"), times=None, probability=0.3),
            Fault(method="GET", path=".*", action=Answer(status=500), times=None, probability=0.1),
        ):
            await faults.add(fault)
        result = await run(on_s3, HELLO, "bash", "scripted", limits=limits)
        await faults.clear()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    assert result.trace is not None
    assert result.trace.n_turns == quiet.trace.n_turns
    assert await alive(on_s3, result.rollout) == []
