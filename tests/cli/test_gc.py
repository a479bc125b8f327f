"""`gc` beside a running stack: it shows what there is, and deletes only what it is asked for."""

import json
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rolldock.cli.gc import GcCommand, gc
from rolldock.cli.trace import trace
from rolldock.errors import UsageError
from rolldock.store import keys
from rolldock.store.deployments import mark_deployment
from rolldock.trainer.client import Client
from rolldock.trainer.collecting import look_beside_rollouts
from tests.e2e.runs import LONG_WAIT
from tests.ended import conversation, end_rollout, record, spec_of
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.cli.conftest import Say

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
    pytest.mark.usefixtures("beside_the_stack"),
]


async def test_old_recordings_are_shown_then_deleted(client: Client, say: "Say") -> None:
    """Those of the experiment, past the age; a reader is told, and the rest of the store stays."""
    store, now = client.store, datetime.now(UTC)
    old, young = (spec_of(f"gc-test/{name}", experiment="gc-test") for name in ("old", "young"))
    await end_rollout(store, old, conversation(2), ended_at=now - timedelta(days=40), blob=b"tools")
    await end_rollout(store, young, conversation(2), ended_at=now - timedelta(days=20))
    loose = await store.put_blob(b"nobody names this")
    lost = str(uuid.uuid4())
    await record(store, lost, spec_of("gc-test/lost"), conversation(1))
    root = Path(store.where)
    blob, half = root / "blobs" / loose, root / f"blobs/{loose}#17"
    half.write_bytes(b"nobody na")
    then = (now - timedelta(days=60)).timestamp()
    for file in (blob, half, *(root / "sessions" / lost).iterdir()):
        os.utime(file, (then, then))

    shown = await say(gc(GcCommand(older_than="30d", experiment="gc-test")))
    assert "session logs" in shown
    assert "recordings that can go: of 1 rollouts" in shown
    assert "half-written files that can go: 1, 9 bytes" in shown
    assert "nothing was deleted" in shown
    found = json.loads(await say(gc(GcCommand(older_than="30d", as_json=True))))
    assert [one["rollout"] for one in found["sessions"]] == ["gc-test/lost"]
    assert found["other_deployments"] == []
    command = GcCommand(older_than="30d", experiment="gc-test", delete=True, yes=True)
    before = len((await client.trace(young.id)).turns)
    facts = json.loads(await say(gc(command.model_copy(update={"as_json": True}))))
    assert [one["rollout"] for one in facts["recordings"]] == [old.id]
    assert facts["deleted"]["n_recordings"] == 1
    assert facts["deleted"]["n_blobs"] >= 1
    assert facts["deleted"]["n_half_written"] == 1
    assert not blob.exists()
    assert not half.exists()
    assert len((await client.trace(young.id)).turns) == before
    with pytest.raises(UsageError, match="was deleted after 40 days"):
        await trace(old.id, as_json=False)


async def test_what_an_open_rollout_may_have_stored_is_kept(client: Client) -> None:
    """While it runs, only blobs go that are days older than its start."""
    spec = await client.spec(LONG_WAIT, agent="bash", endpoint="scripted")
    handle = await client.start(spec)
    began = (await handle.status()).started_at
    try:
        await eventually(lambda: _is_kept(client, began), "what it may have stored is kept")
    finally:
        await handle.cancel()
        await handle.result()


async def _is_kept(client: Client, began: datetime) -> bool:
    found = await look_beside_rollouts(
        client.temporal, client.store, client.settings, client.deployment
    )
    return found.blobs_before <= began - timedelta(days=3)


async def test_another_deployment_is_named(client: Client, say: "Say") -> None:
    """With what it costs and how to go on without it; the stack's own mark is none of another."""
    assert await client.store.get(keys.deployment(client.deployment)) is not None
    await mark_deployment(client.store, "theirs", "elsewhere")
    try:
        shown = await say(gc(GcCommand()))
        assert "(namespace elsewhere) has kept its records here" in shown
        assert "blobs that can go" not in shown
        assert "elsewhere" not in await say(gc(GcCommand(foreign=True)))
    finally:
        await client.store.delete(keys.deployment("theirs"))


async def test_a_day_is_the_least_age(client: Client) -> None:
    """What is younger may be in use."""
    with pytest.raises(UsageError, match="at least 1d"):
        await gc(GcCommand(older_than="0d", delete=True, yes=True))
