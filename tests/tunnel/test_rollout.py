"""Rollouts whose tunnel is lost: a new attempt behind the new URL, whatever their network is.

The URLs are published as a keeper would. All but one are names of the gateway's address in a
sandbox, so that each agent does reach it; with a real tunnel agents work in `tests/chaos`.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from rolldock.cli.stack.child import Child
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.program import Program
from rolldock.cli.stack.programs import CHECKOUT, GATEWAY_IN_SANDBOX
from rolldock.cli.stack.stack import Stack
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Fault
from rolldock.gateway.session_log import SessionLog
from rolldock.models.failure import Cause
from rolldock.models.result import RolloutResult, Status
from rolldock.models.spec import RolloutSpec
from rolldock.sandbox.client import Sandboxes
from rolldock.store.store import Store
from rolldock.trainer.client import Client
from rolldock.tunnel.published import publish
from tests.tunnel.waiting import LET_GO, LONG_WAIT, waiting

RENEWED = GATEWAY_IN_SANDBOX.replace(":41800", ":041800")
"""The same address, written in another way."""
HOST = urlsplit(GATEWAY_IN_SANDBOX).hostname
CREATE = "/api/v1/sandbox"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tunnelled(
    stack_options: Callable[[bool], StackOptions], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Stack]:
    """A stack that takes faults, whose worker is told that agents use the tunnel."""
    options = stack_options(False).model_copy(update={"faults": True})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROLLDOCK_")}
    worker = Program(
        name="worker",
        command=(str(CHECKOUT / ".venv/bin/python"), str(CHECKOUT / "worker.py")),
        env=kept
        | options.environment
        | {
            "PYTHONUNBUFFERED": "1",
            "ROLLDOCK_HOME": str(options.home),
            "ROLLDOCK_GATEWAY_URL": "tunnel",
        },
        ready_line="worker ready",
        stop_seconds=40,
    )
    async with Stack(options) as stack:
        child = Child(worker, tmp_path_factory.mktemp("worker"), CHECKOUT, lambda _: None)
        await child.start()
        try:
            yield stack
        finally:
            await child.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(tunnelled: Stack) -> Client:
    """A client of the stack with the endpoint `scripted`."""
    connected = await Client.connect(tunnelled.settings)
    await connected.add_endpoint("scripted", url=tunnelled.scripted_url, model="scripted")
    return connected


@pytest_asyncio.fixture(loop_scope="session")
async def sandboxes(tunnelled: Stack) -> AsyncGenerator[Sandboxes]:
    """The stack's sandboxes."""
    settings = tunnelled.settings
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as found:
        yield found


@pytest.fixture
def open_task(tmp_path: Path) -> Path:
    """The task that waits, with a public network."""
    copied = tmp_path / "long-wait"
    shutil.copytree(LONG_WAIT, copied)
    settings = copied / "task.toml"
    settings.write_text(settings.read_text().replace("no-network", "public"))
    return copied


async def test_a_lost_tunnel_is_a_new_attempt(
    client: Client, sandboxes: Sandboxes, open_task: Path
) -> None:
    """The first attempt fails with `tunnel_lost`, the second is graded; each knows its URL.

    A sandbox without a public network is allowed the tunnel's host and nothing else.
    """
    closed, public = [await _spec(client, task) for task in (LONG_WAIT, open_task)]
    async with asyncio.timeout(150):
        handles = [await client.start(spec) for spec in (closed, public)]
        await _publish(client.store, GATEWAY_IN_SANDBOX)
        first = [await waiting(client, sandboxes, spec.id) for spec in (closed, public)]
        lists = [(await sandboxes.sdk.get_network(sandbox)).policy for _, sandbox in first]
        assert [policy.allowlist for policy in lists] == [[HOST], None]
        await _publish(client.store, RENEWED)
        second = [
            await waiting(client, sandboxes, spec.id, attempt, LET_GO)
            for spec, (attempt, _) in zip((closed, public), first, strict=True)
        ]
        results = [await handle.result() for handle in handles]
    for result in results:
        _assert_graded_after(Cause.TUNNEL_LOST, result)
    for before, after in zip(first, second, strict=True):
        urls = [await _url(client.store, attempt) for attempt, _ in (before, after)]
        assert urls == [GATEWAY_IN_SANDBOX, RENEWED]


async def test_a_create_that_is_tried_again_keeps_its_tunnel(
    tunnelled: Stack, client: Client, sandboxes: Sandboxes
) -> None:
    """Its key never comes with another request: the URL published since is the next attempt's."""
    await _publish(client.store, GATEWAY_IN_SANDBOX)
    sandboxd = FaultClient(tunnelled.origin(Port.SANDBOXD), tunnelled.settings.prime_api_key)
    async with asyncio.timeout(150), sandboxd:
        refusal = Fault(method="POST", path=CREATE, action=Answer(status=503), times=4)
        fault = await sandboxd.add(refusal)
        spec = await _spec(client, LONG_WAIT)
        handle = await client.start(spec)
        while not await sandboxd.hits(fault):
            await asyncio.sleep(0.02)
        await _publish(client.store, RENEWED)
        attempt, _ = await waiting(client, sandboxes, spec.id, then=LET_GO)
        result = await handle.result()
    _assert_graded_after(Cause.TUNNEL_LOST, result)
    assert await _url(client.store, attempt) == RENEWED


async def test_a_local_sandbox_cannot_be_allowed_a_tunnel(client: Client) -> None:
    """A host outside is refused with what to do; it is not left out of the list."""
    await _publish(client.store, "https://t-1.example")
    async with asyncio.timeout(100):
        handle = await client.start(await _spec(client, LONG_WAIT))
        result = await handle.result()
    assert result.failure is not None
    assert result.failure.cause is Cause.SANDBOX_REFUSED
    assert "and not behind a tunnel" in result.failure.message


async def _spec(client: Client, task: Path) -> RolloutSpec:
    return await client.spec(task, agent="bash", endpoint="scripted")


async def _publish(store: Store, url: str) -> None:
    await publish(store, url, tunnel_id=url, keeper="k", check_seconds=1)


def _assert_graded_after(cause: Cause, result: RolloutResult) -> None:
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    causes = [None if one.failure is None else one.failure.cause for one in result.attempts]
    assert causes == [cause, None]


async def _url(store: Store, attempt: str) -> str | None:
    session = await SessionLog(store, attempt).session()
    assert session is not None
    return session.tunnel_url
