"""Checkpoints through the real SDK: what a restored sandbox has, what outlives what, refusals."""

import asyncio
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prime_sandboxes import APIError, SandboxCheckpoint

from tests.eventually import eventually
from tests.sandboxd.support import API_KEY, Connect, Sdk, Server

_MAKE = """
set -e
cd /app
echo kept > 'a file'; chmod 640 'a file'; chown 1000:1001 'a file'
ln -s 'a file' link; ln 'a file' hard; mkfifo pipe; truncate -s 1M holes
mkdir -p deep/er && echo x > deep/er/y && chmod 1777 deep
rm /etc/debian_version /etc/services && rm -rf /usr/share/doc
echo mine > /etc/hosts.allow2
"""
_LOOK = """
cd /app
stat -c '%n %F %a %u %g %h %s' * deep/er/y
readlink link; cat hard deep/er/y /etc/hosts.allow2
for path in /etc/debian_version /etc/services /usr/share/doc/*; do
  test -e "$path" && echo "$path is back"
done
ls -A /root /home; hostname; cat /etc/hostname
"""


async def kept(sdk: Sdk, sandbox_id: str) -> SandboxCheckpoint:
    """A durable checkpoint of a sandbox."""
    asked = await sdk.client.checkpoint(sandbox_id)
    return await sdk.client.wait_for_checkpoint(asked.id, timeout_seconds=20)


async def restore(sdk: Sdk, checkpoint_id: str, **changes: object) -> str:
    """A sandbox of a checkpoint."""
    made = await sdk.create(docker_image=None, checkpoint_id=checkpoint_id, **changes)
    assert made.status == "RUNNING"
    return made.id


async def test_a_restored_sandbox_has_the_files_as_they_were(sdk: Sdk, sandbox: str) -> None:
    """Files, modes, owners, links, what was deleted; not what was written after, nor processes."""
    await sdk.run(sandbox, _MAKE)
    before = await sdk.run(sandbox, _LOOK)
    await sdk.run(sandbox, "setsid -f sleep 4718")
    checkpoint = await kept(sdk, sandbox)
    assert (checkpoint.state, checkpoint.sandbox_id, checkpoint.depth) == ("DURABLE", sandbox, 0)
    assert checkpoint.occupied_bytes > 0
    await sdk.run(sandbox, "echo later >> '/app/a file'; echo new > /app/new; rm -r /app/deep")
    restored = await restore(sdk, checkpoint.id, name="another")
    assert await sdk.run(restored, _LOOK) == before
    assert "is back" not in before
    assert (
        await sdk.run(restored, "cat /proc/[0-9]*/cmdline | tr -d '\\0' | grep -c 4718; :") == "1\n"
    )
    await sdk.run(restored, "echo restored >> '/app/a file'")
    again = await restore(sdk, checkpoint.id)
    assert await sdk.run(again, _LOOK) == before
    for one in (restored, again):
        await sdk.client.delete(one)
    # The tip of a running sandbox stays restorable.
    with pytest.raises(APIError, match=r"HTTP 409.*in use"):
        await sdk.client.delete_checkpoint(checkpoint.id)


async def test_checkpoints_are_found_by_sandbox_and_by_id(sdk: Sdk) -> None:
    """Listed oldest first with their parents, also after the sandbox; deleted one by one."""
    made = await sdk.create()
    first = await kept(sdk, made.id)
    second = await kept(sdk, made.id)
    assert (second.parent_id, second.depth) == (first.id, 1)
    with pytest.raises(APIError, match="HTTP 409"):
        await sdk.client.delete_checkpoint(second.id)
    await sdk.client.delete(made.id)
    listed = await sdk.client.list_checkpoints(made.id)
    assert [one.id for one in listed] == [first.id, second.id]
    only = await sdk.client.list_checkpoints(made.id, checkpoint_id=second.id)
    assert [one.id for one in only] == [second.id]
    await sdk.client.delete_checkpoint(first.id)
    with pytest.raises(APIError, match=r"HTTP 404.*no checkpoint"):
        await sdk.client.get_checkpoint(first.id)
    many = await sdk.client.get_checkpoints([first.id, second.id])
    assert [one.id for one in many.checkpoints] == [second.id]
    assert [one.checkpoint_id for one in many.errors] == [first.id]
    deleted = await sdk.client.delete_sandbox_checkpoints(made.id)
    assert (deleted.deleted, deleted.errors) == ([second.id], [])


async def test_what_cannot_be_checkpointed_or_restored_is_refused(sdk: Sdk, server: Server) -> None:
    """No such sandbox, an ended one, no such checkpoint, a foreign key: each by its status."""
    made = await sdk.create()
    await sdk.client.delete(made.id)
    with pytest.raises(APIError, match="HTTP 410"):
        await sdk.client.checkpoint(made.id)
    with pytest.raises(APIError, match="HTTP 404"):
        await sdk.client.checkpoint("nobody")
    with pytest.raises(APIError, match=r"HTTP 404.*no checkpoint"):
        await restore(sdk, "nothing")
    assert await sdk.client.list_checkpoints(made.id) == []
    assert not list(server.config.state_dir.glob(f"sandboxes/{made.id}"))


async def test_a_link_where_something_is_mounted_is_not_followed(
    own_server: Server, connect: Connect, tmp_path: Path
) -> None:
    """A sandbox that leaves a link in the way of a mount cannot make anything on the host."""
    target = tmp_path / "host"
    target.mkdir()
    cache = tmp_path / "agents"
    cache.mkdir()
    own_server.config = own_server.config.model_copy(update={"agent_cache": cache})
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    await sdk.run(made.id, f"cd /opt && mv rolldock moved && ln -s /oldroot{target} rolldock")
    checkpoint = await kept(sdk, made.id)
    with pytest.raises(APIError, match="/opt/rolldock is a link"):
        await restore(sdk, checkpoint.id)
    assert list(target.iterdir()) == []


async def test_a_checkpoint_of_a_server_that_hid_less_is_not_restored(
    own_server: Server, connect: Connect
) -> None:
    """What is hidden since would show; the refusal names it."""
    own_server.start()
    sdk = await connect(own_server)
    checkpoint = await kept(sdk, (await sdk.create()).id)
    own_server.end(signal.SIGTERM)
    secret = Path("/usr/share/doc")
    own_server.config = own_server.config.model_copy(update={"hidden": (secret,)})
    own_server.start()
    sdk = await connect(own_server)
    with pytest.raises(APIError, match=f"HTTP 422.*{secret}"):
        await restore(sdk, checkpoint.id)


async def test_checkpoints_outlive_a_kill_of_sandboxd(own_server: Server, connect: Connect) -> None:
    """A durable one is restored after kill -9 and without its sandbox; a half copy has failed."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    await sdk.run(made.id, "echo kept > /app/file")
    checkpoint = await kept(sdk, made.id)
    await sdk.run(made.id, "cd /app && touch $(seq 4000)")
    cut = await sdk.client.checkpoint(made.id)
    own_server.end(signal.SIGKILL)
    own_server.start()
    sdk = await connect(own_server)
    assert (await sdk.client.get_checkpoint(cut.id)).state == "FAILED"
    with pytest.raises(APIError, match=r"HTTP 409.*FAILED"):
        await restore(sdk, cut.id)
    assert not (own_server.config.state_dir / "checkpoints" / cut.id / "upper").exists()
    await sdk.client.delete_checkpoint(cut.id)
    await sdk.client.delete(made.id)
    restored = await restore(sdk, checkpoint.id, idempotency_key="restored")
    assert await sdk.run(restored, "cat /app/file; ls /app | wc -l") == "kept\n1\n"
    with pytest.raises(APIError, match=r"HTTP 409.*in use"):
        await sdk.client.delete_checkpoint(checkpoint.id)
    await sdk.client.delete(restored)
    await sdk.client.delete_checkpoint(checkpoint.id)
    assert list((own_server.config.state_dir / "checkpoints").iterdir()) == []


async def test_a_sandbox_that_changes_or_ends_while_it_is_copied(
    own_server: Server, connect: Connect
) -> None:
    """Files that come and go are no failure; an end of the sandbox is one, and pending is 409."""
    own_server.start()
    sdk = await connect(own_server)
    made = await sdk.create()
    await sdk.run(made.id, "mkdir /srv/many && cd /srv/many && touch $(seq 4000)")
    once = "for n in $(seq 50); do echo $n > $n; done; rm -f *; sleep 0.01"
    await sdk.client.start_background_job(made.id, f"cd /app; while :; do {once}; done")
    assert (await kept(sdk, made.id)).state == "DURABLE"
    cut = await sdk.client.checkpoint(made.id)
    with pytest.raises(APIError, match=r"HTTP 409.*PENDING"):
        await sdk.client.delete_checkpoint(cut.id)
    await sdk.client.delete(made.id)

    async def has_failed() -> bool:
        return (await sdk.client.get_checkpoint(cut.id)).state == "FAILED"

    await eventually(has_failed, "the checkpoint failed")
    with pytest.raises(RuntimeError, match="its sandbox ended"):
        await asyncio.wait_for(sdk.client.wait_for_checkpoint(cut.id), timeout=5)


async def test_a_caller_that_goes_leaves_no_checkpoint_pending(
    sdk: Sdk, server: Server, sandbox: str
) -> None:
    """Whenever its connection ends after it has asked: what was begun is finished."""
    where = urlsplit(server.url)
    asked = (
        f"POST /api/v1/sandbox/{sandbox}/checkpoints HTTP/1.1\r\nHost: sandboxd\r\n"
        f"Authorization: Bearer {API_KEY}\r\nContent-Length: 0\r\n\r\n"
    )
    for _ in range(10):
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(asked.encode())
        writer.close()
        await writer.wait_closed()

    async def are_durable() -> bool:
        made = await sdk.client.list_checkpoints(sandbox)
        return bool(made) and {one.state for one in made} == {"DURABLE"}

    await eventually(are_durable, "every checkpoint is durable")
