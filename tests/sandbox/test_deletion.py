"""No sandbox of an attempt survives its delete, and no other one is touched."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rolldock.errors import UnavailableError
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.deletion import Tombstone, delete_sandboxes
from rolldock.sandbox.labels import Ownership, write_labels
from rolldock.store import keys
from rolldock.store.store import Store

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

LIST = "GET /api/v1/sandbox"
OWNER = Ownership(deployment="d", rollout="exp/1/t/0", run="r", attempt="a-1")
ATTEMPT = str(OWNER.attempt)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path / "store"))


async def delete(
    sandboxes: Sandboxes,
    store: Store,
    sandbox_id: str | None = None,
    *,
    create_sent: bool = True,
    settle_seconds: float = 60,
) -> tuple[str, ...]:
    """Delete whatever the attempt has."""
    return await delete_sandboxes(
        sandboxes,
        store,
        OWNER,
        sandbox_id=sandbox_id,
        create_sent=create_sent,
        settle_seconds=settle_seconds,
    )


async def test_a_known_sandbox_is_deleted_by_its_id(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """Also where the provider's list does not show it; the tombstone stands before that."""
    known = provider.add(OWNER, [])
    assert await delete(sandboxes, store, known) == (known,)
    assert provider.alive() == []
    tombstone = await store.get(keys.tombstone(ATTEMPT))
    assert tombstone is not None
    assert Tombstone.model_validate_json(tombstone).written_at <= datetime.now(UTC)


async def test_an_unknown_sandbox_is_found_by_its_labels(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """A create that never reported is found in the list, also twice."""
    found = [provider.add(OWNER, write_labels(OWNER)) for _ in range(2)]
    await store.create(keys.create_sent(ATTEMPT), b"")
    assert await delete(sandboxes, store) == tuple(found)
    assert provider.alive() == []


async def test_other_sandboxes_are_left_alone(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """The provider's filter is not trusted: each sandbox's own labels are read again."""
    provider.ignores_labels = True
    others = [
        provider.add(other, write_labels(other))
        for other in (
            OWNER.model_copy(update={"deployment": "another"}),
            OWNER.model_copy(update={"attempt": "another"}),
            OWNER.model_copy(update={"attempt": None}),
        )
    ]
    own = provider.add(OWNER, [*write_labels(OWNER), "theirs"])
    assert await delete(sandboxes, store) == (own,)
    assert provider.alive() == others


async def test_without_a_sent_create_one_look_is_enough(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """No mark in the store: nothing can appear, so nothing is waited for."""
    assert await delete(sandboxes, store) == ()
    assert provider.requests.count(LIST) == 1


async def test_a_refused_create_is_not_waited_for(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """The mark is there, but the create was certainly refused."""
    await store.create(keys.create_sent(ATTEMPT), b"")
    assert await delete(sandboxes, store, create_sent=False) == ()
    assert provider.requests.count(LIST) == 1


async def test_a_create_that_shows_late_is_still_deleted(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """A lost reply or a lagging list: it is looked for again until the settle time is over."""
    await store.create(keys.create_sent(ATTEMPT), b"")
    deleting = asyncio.create_task(delete(sandboxes, store))
    while provider.requests.count(LIST) < 2:
        await asyncio.sleep(0.01)
    late = provider.add(OWNER, write_labels(OWNER))
    assert await deleting == (late,)
    assert provider.alive() == []


async def test_the_settle_time_is_counted_from_the_tombstone(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """A second try does not wait the whole time again."""
    await store.create(keys.create_sent(ATTEMPT), b"")
    written = Tombstone(written_at=datetime.now(UTC) - timedelta(seconds=59.9))
    await store.create(keys.tombstone(ATTEMPT), written.model_dump_json().encode())
    async with asyncio.timeout(5):
        assert await delete(sandboxes, store, settle_seconds=60) == ()


async def test_a_delete_that_was_asked_for_is_waited_for(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """A provider that takes its time has not deleted anything yet."""
    known = provider.add(OWNER, write_labels(OWNER))
    asked = asyncio.Event()

    async def later(_: web.Request) -> web.StreamResponse:
        asked.set()
        return web.json_response({})

    provider.instead[f"DELETE /api/v1/sandbox/{known}"] = later
    deleting = asyncio.create_task(delete(sandboxes, store, known))
    await asked.wait()
    get = f"GET /api/v1/sandbox/{known}"
    while provider.requests.count(get) < 2:
        await asyncio.sleep(0.01)
    assert not deleting.done()
    provider.sandboxes[known]["status"] = "TERMINATED"
    assert await deleting == (known,)


async def test_what_is_gone_already_is_success(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """A sandbox that the provider no longer knows needs no delete."""
    assert await delete(sandboxes, store, "sbx404") == ("sbx404",)


async def test_a_store_outage_keeps_no_sandbox_alive(
    provider: "Provider", sandboxes: Sandboxes, store: Store, tmp_path: Path
) -> None:
    """Without a tombstone the delete has to be tried again, but the sandbox goes now."""
    known = provider.add(OWNER, write_labels(OWNER))
    listed = provider.add(OWNER, write_labels(OWNER))
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("a file where a directory was")
    with pytest.raises(UnavailableError):
        await delete(sandboxes, store, known)
    assert provider.alive() == []
    assert listed in provider.sandboxes
