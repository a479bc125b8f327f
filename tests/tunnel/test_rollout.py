"""A rollout whose tunnel is lost while its agent works: a new attempt behind the new URL.

The URLs are published as a keeper would; both are names of the gateway's address in a sandbox, so
that each agent does reach it.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rolldock.cli.stack.child import Child
from rolldock.cli.stack.options import StackOptions
from rolldock.cli.stack.program import Program
from rolldock.cli.stack.programs import CHECKOUT, GATEWAY_IN_SANDBOX
from rolldock.cli.stack.stack import Stack
from rolldock.gateway.session_log import SessionLog
from rolldock.models.failure import Cause
from rolldock.models.result import Status
from rolldock.sandbox.client import Sandboxes
from rolldock.store.store import Store
from rolldock.trainer.client import Client
from rolldock.tunnel.published import publish

LONG_WAIT = CHECKOUT / "tests" / "tasks" / "long-wait"
RENEWED = GATEWAY_IN_SANDBOX.replace("127.0.0.64", "127.0.64")
"""The same address, written in another way."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest_asyncio.fixture
async def tunnelled(
    stack_options: Callable[[bool], StackOptions], tmp_path: Path
) -> AsyncGenerator[Stack]:
    """A stack whose worker is told that agents use the tunnel."""
    options = stack_options(False)
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
        child = Child(worker, tmp_path, CHECKOUT, lambda _: None)
        await child.start()
        try:
            yield stack
        finally:
            await child.stop()


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """The task that waits, with a public network."""
    copied = tmp_path / "long-wait"
    shutil.copytree(LONG_WAIT, copied)
    settings = copied / "task.toml"
    settings.write_text(settings.read_text().replace("no-network", "public"))
    return copied


async def test_a_lost_tunnel_is_a_new_attempt(tunnelled: Stack, task: Path) -> None:
    """The first attempt fails with `tunnel_lost`, the second is graded; each knows its URL."""
    store = Store.open(tunnelled.settings.store)
    client = await Client.connect(tunnelled.settings)
    await client.add_endpoint("scripted", url=tunnelled.scripted_url, model="scripted")
    spec = await client.spec(task, agent="bash", endpoint="scripted")
    async with asyncio.timeout(150):
        handle = await client.start(spec)
        await publish(store, GATEWAY_IN_SANDBOX, tunnel_id="1", keeper="k", check_seconds=1)
        first = await _waiting(tunnelled, client, spec.id, "")
        await publish(store, RENEWED, tunnel_id="2", keeper="k", check_seconds=1)
        second = await _waiting(tunnelled, client, spec.id, first, "touch /tmp/go")
        result = await handle.result()
    assert (result.status, result.reward) == (Status.COMPLETED, 1.0), result.failure
    causes = [None if one.failure is None else one.failure.cause for one in result.attempts]
    assert causes == [Cause.TUNNEL_LOST, None]
    urls = [await _url(store, attempt) for attempt in (first, second)]
    assert urls == [GATEWAY_IN_SANDBOX, RENEWED]


async def _waiting(
    stack: Stack, client: Client, rollout: str, not_this: str, then: str = "true"
) -> str:
    """The attempt whose agent waits in its sandbox, once it does; a command is run there."""
    settings = stack.settings
    async with Sandboxes.open(settings.prime_api_base_url, settings.prime_api_key) as sandboxes:
        while True:
            for one in await client.sandboxes():
                owner = one.sandbox.owner
                if owner.rollout != rollout or str(owner.attempt) == not_this:
                    continue
                if one.sandbox.status == "RUNNING":
                    done = await sandboxes.run(
                        one.sandbox.id,
                        f"test -e /tmp/waiting && {then}",
                        timeout_seconds=10,
                        otherwise=Cause.INTERNAL,
                    )
                    if done.exit_code == 0:
                        return str(owner.attempt)
            await asyncio.sleep(0.05)


async def _url(store: Store, attempt: str) -> str | None:
    session = await SessionLog(store, attempt).session()
    assert session is not None
    return session.tunnel_url
