"""Which checkpoints a sweep deletes, and what it says of those that it could not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rolldock.errors import UnavailableError
from rolldock.models.checkpoint import CheckpointAsked
from rolldock.models.result import StopReason
from rolldock.sandbox.checkpoints import keep_workspace
from rolldock.sandbox.checkpoints_expiry import Expired, delete_expired, expired
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership
from rolldock.sandbox.reaping import RunState
from rolldock.store import keys
from rolldock.store.store import Store

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OURS = "our-deployment"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path / "store"))


async def states(rollout: str, run: str | None) -> RunState:
    """Rollouts whose names say what has become of them."""
    if rollout == "unreachable":
        raise UnavailableError("Temporal is away")
    return RunState(is_open=rollout.startswith("open"), why=f"{rollout}, run {run}")


async def add(
    provider: "Provider",
    sandboxes: Sandboxes,
    store: Store,
    rollout: str,
    days: float = -1,
    deployment: str = OURS,
) -> CheckpointAsked:
    """A kept workspace of a rollout, which expires so many days from now."""
    asked = CheckpointAsked(
        deployment=deployment,
        rollout=rollout,
        run="r",
        attempt=f"{rollout}-1",
        sandbox_id=provider.add(Ownership(rollout=rollout), []),
        workdir="/",
        stop_reason=StopReason.AGENT_COMPLETED,
        asked_at=NOW,
        expires_at=NOW + timedelta(days=days),
    )
    await keep_workspace(sandboxes, store, asked, 5)
    return asked


async def swept(
    sandboxes: Sandboxes, store: Store, *, cap: int = 100, dry_run: bool = False
) -> dict[str, Expired]:
    """What one sweep does, by rollout."""
    found = await expired(store, OURS, NOW)
    done = await delete_expired(sandboxes, store, states, found, cap, dry_run=dry_run)
    return {one.asked.rollout: one for one in done}


async def test_only_what_has_expired_and_nobody_needs_is_deleted(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """Not of an open rollout, nor of one that an open one replays, nor where nobody can tell; what
    is another deployment's is not even looked at."""
    over = await add(provider, sandboxes, store, "over")
    kept = [
        await add(provider, sandboxes, store, name, days)
        for name, days in (("young", 1), ("open", -1), ("replayed", -1), ("unreachable", -1))
    ]
    kept.append(await add(provider, sandboxes, store, "foreign", deployment="theirs"))
    await store.create(keys.replay("replayed", "done/replay"), b"done/replay")
    await store.create(keys.replay("replayed", "open/replay"), b"open/replay")
    shown = await swept(sandboxes, store, dry_run=True)
    assert [name for name, one in shown.items() if one.is_over] == ["over"]
    assert len(provider.checkpoints) == 6
    done = await swept(sandboxes, store)
    assert [name for name, one in done.items() if one.is_over] == ["over"]
    assert str(done["unreachable"]).endswith("Temporal is away")
    left = {one["sandbox_id"] for one in provider.checkpoints.values()}
    assert left == {asked.sandbox_id for asked in kept}
    assert await store.get(keys.checkpoint_gone(over.attempt)) is not None
    assert "over" not in await swept(sandboxes, store)


async def test_what_cannot_be_deleted_is_tried_again(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """A refusal is reported and stays in the ledger; the next sweep deletes the rest."""
    asked = await add(provider, sandboxes, store, "over")
    [checkpoint] = provider.checkpoints

    async def in_use(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "in use"}, status=409)

    place = f"DELETE /api/v1/sandbox/checkpoints/{checkpoint}"
    provider.instead[place] = in_use
    assert "in use" in str((await swept(sandboxes, store))["over"].error)
    assert await store.get(keys.checkpoint_gone(asked.attempt)) is None
    del provider.instead[place]
    assert (await swept(sandboxes, store))["over"].is_over
    assert provider.checkpoints == {}


async def test_what_was_asked_for_and_never_heard_of_is_deleted(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """By its sandbox's id alone; of a sandbox that the provider has forgotten, what the ledger
    names, if anything."""
    asked = await add(provider, sandboxes, store, "over")
    lost = asked.model_copy(update={"attempt": "lost", "rollout": "lost"})
    await store.create(keys.checkpoint_asked("lost"), lost.model_dump_json().encode())
    forgotten = lost.model_copy(update={"attempt": "no", "rollout": "no", "sandbox_id": "no"})
    await store.create(keys.checkpoint_asked("no"), forgotten.model_dump_json().encode())
    stray = await add(provider, sandboxes, store, "stray")
    del provider.sandboxes[stray.sandbox_id]
    done = await swept(sandboxes, store)
    assert all(one.is_over for one in done.values())
    assert len(done) == 4
    assert provider.checkpoints == {}


async def test_what_cannot_be_deleted_takes_nobodys_place(
    provider: "Provider", sandboxes: Sandboxes, store: Store
) -> None:
    """Rollouts that go on do not count against the cap, and what fails is not always first."""
    for number in range(20):
        await add(provider, sandboxes, store, f"open-{number}", days=-9)
    await add(provider, sandboxes, store, "unreachable", days=-9)
    over = await add(provider, sandboxes, store, "over")
    for _ in range(100):
        done = await swept(sandboxes, store, cap=1)
        assert sum(not one.is_open for one in done.values()) == 1
        if await store.get(keys.checkpoint_gone(over.attempt)) is not None:
            return
    pytest.fail("its turn never came")
