"""The control plane: create once, find, list, end; what is refused and how."""

import asyncio
import os
from typing import Any

import httpx
import pytest
from prime_sandboxes import APIError, AsyncSandboxClient
from prime_sandboxes.core import UnauthorizedError
from prime_sandboxes.exceptions import SandboxTimeoutError

from rolldock.sandboxd.network import GATEWAY_HOST
from tests.eventually import eventually
from tests.sandboxd.support import API_KEY, Sdk, Server, processes_with


async def test_a_created_sandbox_runs(sdk: Sdk) -> None:
    """Create answers with a running sandbox, and its first poll is its last."""
    made = await sdk.create(name="Mr. Box!", labels=["a:1"], memory_gb=2, cpu_cores=0.5)
    assert made.status == "RUNNING"
    await asyncio.wait_for(sdk.client.wait_for_creation(made.id), timeout=1)
    found = await sdk.client.get(made.id)
    assert (found.name, found.labels, found.docker_image) == ("Mr. Box!", ["a:1"], "host")
    assert (found.memory_gb, found.cpu_cores, found.network_allowlist) == (2, 0.5, [])
    assert await sdk.run(made.id, "hostname") == "Mr--Box\n"
    assert "running" in await sdk.client.get_logs(made.id)
    await sdk.client.delete(made.id)


async def test_one_key_one_sandbox(sdk: Sdk) -> None:
    """The same key makes one sandbox, also when the creates come together; other bodies clash."""
    key = "attempt-1"
    made = await asyncio.gather(*(sdk.create(idempotency_key=key) for _ in range(5)))
    assert len({it.id for it in made}) == 1
    with pytest.raises(APIError, match=r"HTTP 409.*another request"):
        await sdk.create(idempotency_key=key, timeout_minutes=7)
    await sdk.client.delete(made[0].id)
    again = await sdk.create(idempotency_key=key)
    assert (again.id, again.status) == (made[0].id, "TERMINATED")


async def test_an_abandoned_create_is_found_by_its_key(sdk: Sdk, server: Server) -> None:
    """A client that goes away during the boot finds the sandbox with its next try."""
    call = asyncio.create_task(sdk.create(idempotency_key="attempt-2", labels=["abandoned"]))
    before = len(server.records())
    await eventually(lambda: call.done() or len(server.records()) > before, "the boot began")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    made = await sdk.create(idempotency_key="attempt-2", labels=["abandoned"])
    listed = await sdk.client.list(labels=["abandoned"])
    assert [it.id for it in listed.sandboxes] == [made.id]
    await sdk.client.delete(made.id)


async def test_twenty_creates_at_once(sdk: Sdk) -> None:
    """Many creates together all give sandboxes of their own."""
    made = await asyncio.gather(*(sdk.create(labels=["twenty"]) for _ in range(20)))
    names = await asyncio.gather(*(sdk.run(it.id, "cat /proc/1/comm") for it in made))
    assert (len({it.id for it in made}), set(names)) == (20, {"sleep\n"})
    ended = await sdk.client.bulk_delete(labels=["twenty"])
    assert sorted(ended.succeeded) == sorted(it.id for it in made)


async def test_list_by_labels_and_page(sdk: Sdk) -> None:
    """Labels must all match; pages are cut from the newest; the ended are left out on request."""
    made = [await sdk.create(labels=["list", f"n:{n}"]) for n in range(3)]
    await sdk.client.delete(made[0].id)
    first = await sdk.client.list(labels=["list"], per_page=2)
    assert [it.id for it in first.sandboxes] == [made[2].id, made[1].id]
    assert (first.total, first.has_next) == (3, True)
    second = await sdk.client.list(labels=["list"], per_page=2, page=2)
    assert ([it.id for it in second.sandboxes], second.has_next) == ([made[0].id], False)
    active = await sdk.client.list(labels=["list"], exclude_terminated=True)
    assert active.total == 2
    both = await sdk.client.list(labels=["list", "n:1"])
    assert [it.id for it in both.sandboxes] == [made[1].id]
    ended = await sdk.client.list(labels=["list"], status="TERMINATED")
    assert [it.id for it in ended.sandboxes] == [made[0].id]
    await sdk.client.bulk_delete(sandbox_ids=[it.id for it in made])


async def test_batch_status(sdk: Sdk, sandbox: str) -> None:
    """Known ids have a status, unknown ones an error, in one answer."""
    reply = await sdk.client.get_sandbox_statuses([sandbox, "unknown"])
    assert [(it.sandbox_id, it.status.value) for it in reply.statuses] == [(sandbox, "RUNNING")]
    assert [(it.sandbox_id, it.code) for it in reply.errors] == [("unknown", "NOT_FOUND")]


async def test_delete_leaves_nothing(sdk: Sdk, server: Server) -> None:
    """After a delete no process, directory or listener is left; deleting again is fine."""
    made = await sdk.create()
    await sdk.run(made.id, "mkdir -p /app/$(printf 'd/%.0s' {1..1500}); setsid -f sleep 4715")
    assert processes_with(made.id.encode())
    for _ in range(2):
        await sdk.client.delete(made.id)
        assert processes_with(made.id.encode()) == []
        assert processes_with(b"sleep\0004715") == []
        assert not (server.config.state_dir / "sandboxes" / made.id).exists()
        assert not (server.config.state_dir / "trash" / made.id).exists()
    found = await sdk.client.get(made.id)
    assert found.status == "TERMINATED"
    assert found.terminated_at is not None
    with pytest.raises(APIError, match="HTTP 404"):
        await sdk.client.delete("unknown")


async def test_bulk_delete_twice(sdk: Sdk) -> None:
    """A bulk delete may be repeated; only unknown ids fail."""
    made = await sdk.create()
    for _ in range(2):
        reply = await sdk.client.bulk_delete(sandbox_ids=[made.id, "unknown"])
        assert reply.succeeded == [made.id]
        assert [it["sandbox_id"] for it in reply.failed] == ["unknown"]


async def test_lifetime(sdk: Sdk) -> None:
    """At the end of its lifetime a sandbox is ended, and the SDK raises its own error for that."""
    # A second: the SDK's own field has whole minutes, the server takes fractions.
    body: dict[str, Any] = {"name": "short", "docker_image": "host", "timeout_minutes": 1 / 60}
    body["network_allowlist"] = []
    made = await sdk.client.client.request("POST", "/sandbox", json=body)
    with pytest.raises(SandboxTimeoutError):
        await sdk.client.execute_command(made["id"], "sleep 60")
    assert (await sdk.client.get(made["id"])).status == "TIMEOUT"
    await eventually(lambda: not processes_with(made["id"].encode()), "its processes are gone")


async def test_a_sandbox_that_dies_is_noticed(sdk: Sdk, server: Server) -> None:
    """A sandbox whose first process is killed becomes an error with a reason."""
    made = await sdk.create()
    [record] = [it for it in server.records() if it["id"] == made.id]
    processes = [pid for pid in processes_with(made.id.encode()) if pid == record["process"]["pid"]]
    assert len(processes) == 1
    os.kill(processes[0], 9)

    async def is_error() -> bool:
        return (await sdk.client.get(made.id)).status == "ERROR"

    await eventually(is_error, "the death was noticed")
    assert (await sdk.client.get(made.id)).error_type == "SANDBOX_DIED"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"docker_image": "python:3.12-slim"}, "--image host"),
        ({"gpu_count": 1, "gpu_type": "H100"}, "no GPUs"),
        ({"network_allowlist": ["example.com"]}, "network lists are not supported"),
        ({"network_allowlist": None, "network_denylist": ["10.0.0.0/8"]}, "network lists"),
        ({"idle_timeout_minutes": 5}, "idle_timeout_minutes"),
    ],
)
async def test_what_is_refused(sdk: Sdk, changes: dict[str, Any], message: str) -> None:
    """What this server cannot do is refused with 422 and what to do instead."""
    with pytest.raises(APIError, match=f"HTTP 422: .*{message}"):
        await sdk.create(**changes)


async def test_a_list_of_the_gateway_alone_is_no_network(sdk: Sdk) -> None:
    """The gateway is in every sandbox: naming it in a list opens nothing else."""
    made = await sdk.create(network_allowlist=[GATEWAY_HOST])
    assert (await sdk.client.get_network(made.id)).policy.allowlist == [GATEWAY_HOST]
    assert len((await sdk.run(made.id, "tail -n +3 /proc/net/dev")).splitlines()) == 1
    assert (await sdk.client.set_network(made.id, deny=["*"])).applied
    await sdk.client.delete(made.id)


async def test_network_is_fixed(sdk: Sdk, sandbox: str) -> None:
    """The network can be asked for; only what is in force already may be set."""
    assert (await sdk.client.get_network(sandbox)).policy.allowlist == []
    assert (await sdk.client.set_network(sandbox, deny=["*"])).applied
    with pytest.raises(APIError, match="HTTP 422"):
        await sdk.client.set_network(sandbox, allow=["example.com"])


async def test_keys_are_checked(server: Server, sdk: Sdk, sandbox: str) -> None:
    """The wrong API key is 401; one sandbox's token is no good for another's gateway."""
    async with AsyncSandboxClient(api_key="wrong") as stranger:
        stranger.client.base_url = server.url
        with pytest.raises(UnauthorizedError):
            await stranger.list()
    other = await sdk.create()
    auth = await sdk.client.client.request("POST", f"/sandbox/{other.id}/auth")
    async with httpx.AsyncClient() as http:
        url = f"{auth['gateway_url']}/local/{sandbox}/read-file"
        headers = {"Authorization": f"Bearer {auth['token']}"}
        reply = await http.get(url, params={"path": "/etc/hosts"}, headers=headers)
    assert reply.status_code == 401
    await sdk.client.delete(other.id)


async def test_health_and_unknown_routes(server: Server) -> None:
    """Health needs no key; an unknown route is a JSON 404; a body that is none is 422."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/healthz")).json()["ok"] is True
        unknown = await http.get("/api/v1/nothing")
        assert (unknown.status_code, "detail" in unknown.json()) == (404, True)
        headers = {"Authorization": f"Bearer {API_KEY}"}
        reply = await http.post("/api/v1/sandbox", content=b"{", headers=headers)
        assert (reply.status_code, "detail" in reply.json()) == (422, True)
