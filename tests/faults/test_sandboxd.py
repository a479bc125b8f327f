"""Faults of a real sandboxd, seen through the real SDK."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prime_sandboxes import APIError, AsyncSandboxClient
from prime_sandboxes.exceptions import SandboxNotRunningError, SandboxOOMError

from rolldock.errors import UsageError
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Drop, Fault, Late
from tests.eventually import eventually
from tests.sandboxd.support import API_KEY, Sdk, Server, end_completely

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxd on bubblewrap needs root")

CREATE = "/api/v1/sandbox"
SDK_TRIES = 3
"""How often the SDK sends a create before it gives up."""
LATE_SECONDS = 5
"""More than those tries take together."""
NO_GATEWAY = 9
"""A port where nothing listens: no sandbox here calls the gateway."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandboxd that takes faults."""
    made = Server(tmp_path_factory.mktemp("faults") / "state", NO_GATEWAY, faults=True)
    made.start()
    yield made
    end_completely(made)


@pytest.fixture
async def sdk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Sdk]:
    """A client of it; the SDK keeps a cache in HOME, so each test has its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    async with AsyncSandboxClient(api_key=API_KEY) as client:
        client.client.base_url = server.url
        yield Sdk(client)


@pytest.fixture
async def faults(server: Server) -> AsyncIterator[FaultClient]:
    """A client of its faults; none is left to the next test."""
    async with FaultClient(server.url, API_KEY) as client:
        yield client
        await client.clear()
        await client.lag_listing(0)


async def listed(sdk: Sdk, label: str) -> list[str]:
    """The sandboxes with a label that live."""
    found = await sdk.client.list(labels=[label], exclude_terminated=True)
    return [it.id for it in found.sandboxes]


async def test_off_by_default(tmp_path: Path) -> None:
    """Without `faults` in its configuration there is nothing to ask, even with the key."""
    plain = Server(tmp_path / "state", NO_GATEWAY)
    plain.start()
    try:
        async with FaultClient(plain.url, API_KEY) as client:
            with pytest.raises(UsageError, match="answered 404"):
                await client.state()
            with pytest.raises(UsageError, match="answered 404"):
                await client.lag_listing(1)
    finally:
        assert plain.end(signal.SIGTERM) == 0


async def test_only_with_the_key(server: Server) -> None:
    """Whoever cannot create sandboxes cannot harm them either."""
    async with FaultClient(server.url, "another key") as stranger:
        with pytest.raises(UsageError, match="answered 401"):
            await stranger.add(Fault(path=".*", action=Drop()))
        with pytest.raises(UsageError, match="answered 401"):
            await stranger.harm("any", "lose")
        with pytest.raises(UsageError, match="answered 401"):
            await stranger.lag_listing(1)


async def test_a_lost_create_reply(sdk: Sdk, faults: FaultClient) -> None:
    """The create took effect: the SDK's own retry finds its sandbox, and makes no second one."""
    lost = await faults.add(Fault(method="POST", path=CREATE, action=Drop(when="after")))
    made = await sdk.create(idempotency_key="lost", labels=["lost"])
    assert await faults.hits(lost) == 1
    assert await listed(sdk, "lost") == [made.id]
    await sdk.client.delete(made.id)


async def test_create_replies_lost_until_the_sdk_gives_up(sdk: Sdk, faults: FaultClient) -> None:
    """The SDK reports an error although the sandbox is there; its key leads to it."""
    lost = Fault(method="POST", path=CREATE, action=Drop(when="after"), times=SDK_TRIES)
    await faults.add(lost)
    with pytest.raises(APIError):
        await sdk.create(idempotency_key="given-up", labels=["given-up"])
    [there] = await listed(sdk, "given-up")
    assert (await sdk.create(idempotency_key="given-up", labels=["given-up"])).id == there
    await sdk.client.delete(there)


async def test_a_late_create(sdk: Sdk, faults: FaultClient) -> None:
    """A create whose connection was dropped takes effect later, when nobody waits for it."""
    late = Fault(method="POST", path=CREATE, action=Late(seconds=LATE_SECONDS), times=SDK_TRIES)
    await faults.add(late)
    started = time.monotonic()
    with pytest.raises(APIError):
        await sdk.create(labels=["late"])
    assert await listed(sdk, "late") == []
    assert time.monotonic() - started < LATE_SECONDS

    async def is_there() -> bool:
        return await listed(sdk, "late") != []

    await eventually(is_there, "the late create took effect")
    assert time.monotonic() - started >= LATE_SECONDS
    await sdk.client.bulk_delete(labels=["late"])


async def test_a_lagging_listing(sdk: Sdk, faults: FaultClient) -> None:
    """A sandbox can be looked up at once and is listed only later."""
    await faults.lag_listing(1)
    made = await sdk.create(labels=["lag"])
    assert (await sdk.client.get(made.id)).status == "RUNNING"
    assert await listed(sdk, "lag") == []
    assert (await sdk.client.bulk_delete(labels=["lag"])).succeeded == []

    async def is_listed() -> bool:
        return await listed(sdk, "lag") == [made.id]

    await eventually(is_listed, "the list shows it")
    second = await sdk.create(labels=["lag"])
    assert await listed(sdk, "lag") == [made.id]
    await faults.lag_listing(0)
    assert await listed(sdk, "lag") == [second.id, made.id]
    await sdk.client.bulk_delete(sandbox_ids=[made.id, second.id])


async def test_a_lost_sandbox(sdk: Sdk, faults: FaultClient) -> None:
    """It ends by itself: the SDK says that it does not run any more."""
    made = await sdk.create()
    await faults.harm(made.id, "lose")
    with pytest.raises(SandboxNotRunningError, match="first process ended"):
        await sdk.run(made.id, "true")
    assert (await sdk.client.get(made.id)).status == "ERROR"
    with pytest.raises(UsageError, match="answered 410"):
        await faults.harm(made.id, "lose")
    with pytest.raises(UsageError, match="answered 404"):
        await faults.harm("unknown", "lose")


async def test_a_sandbox_out_of_memory(sdk: Sdk, faults: FaultClient) -> None:
    """The SDK raises its own error for it."""
    made = await sdk.create()
    await faults.harm(made.id, "oom")
    with pytest.raises(SandboxOOMError):
        await sdk.run(made.id, "true")


async def test_a_full_disk_takes_no_upload(sdk: Sdk, faults: FaultClient) -> None:
    """The upload fails and says why; commands go on, since they have no limit to run into."""
    made = await sdk.create()
    await faults.harm(made.id, "disk_full")
    with pytest.raises(APIError, match="No space left"):
        await sdk.client.upload_bytes(made.id, "/tmp/file", b"content", "file")
    assert await sdk.run(made.id, "echo here") == "here\n"
    await sdk.client.delete(made.id)


async def test_deletes_are_refused_for_a_while(sdk: Sdk, faults: FaultClient) -> None:
    """So many deletes fail, the next one does its work."""
    made = await sdk.create(labels=["refused"])
    refused = Fault(method="DELETE", path=f"{CREATE}/[^/]+", action=Answer(status=400), times=2)
    fault = await faults.add(refused)
    for _ in range(2):
        with pytest.raises(APIError, match="400"):
            await sdk.client.delete(made.id)
    assert await listed(sdk, "refused") == [made.id]
    await sdk.client.delete(made.id)
    assert await listed(sdk, "refused") == []
    assert await faults.hits(fault) == 2


async def test_a_command_whose_stream_is_lost(sdk: Sdk, faults: FaultClient) -> None:
    """The command has begun when its stream is dropped; calls are counted by the pattern."""
    made = await sdk.create()
    start = r"/api/v1/gateway/.*/command_session\.CommandSession/Start"

    async def has_run() -> bool:
        # The lost stream ends the command, often before it has written.
        await faults.add(Fault(path=start, action=Drop(when="after")))
        await asyncio.gather(sdk.run(made.id, "echo $$ >> /tmp/ran"), return_exceptions=True)
        return len((await sdk.run(made.id, "cat /tmp/ran || true")).split()) >= 1

    await eventually(has_run, "the command ran")
    counted = (await faults.state()).requests
    pattern = "/api/v1/gateway/{namespace}/{sandbox_id}/command_session.CommandSession/Start"
    assert counted[f"POST {pattern}"] >= 2
    assert not any(made.id in route for route in counted)
    await sdk.client.delete(made.id)
