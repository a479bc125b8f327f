"""What a sweep makes of each sandbox: only what is certainly over is deleted."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from rolldock.errors import StageError, UnavailableError
from rolldock.models.reaping import REPORTED, SweptSandbox, Verdict
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership, write_labels
from rolldock.sandbox.reaping import RunState, delete_orphans, judge
from rolldock.store import keys
from rolldock.store.store import Store

if TYPE_CHECKING:
    from tests.sandbox.conftest import Provider

OURS = "our-deployment"


def owner(rollout: str, deployment: str = OURS) -> Ownership:
    """An owner whose every label is there."""
    return Ownership(deployment=deployment, rollout=rollout, run="r", attempt=f"{rollout}-1")


def add(provider: "Provider", who: Ownership) -> str:
    """A living sandbox of an owner."""
    return provider.add(who, write_labels(who))


async def states(rollout: str, run: str | None) -> RunState:
    """Rollouts whose names say what has become of them."""
    if rollout == "unreachable":
        raise UnavailableError("Temporal is away")
    return RunState(is_open=rollout == "open", why=f"{rollout}, run {run}")


async def judged(sandboxes: Sandboxes, grace_seconds: float = 0) -> dict[str, Verdict]:
    """The verdicts by sandbox."""
    found = await judge(sandboxes, OURS, states, grace_seconds)
    return {one.sandbox_id: one.verdict for one in found}


async def test_only_ended_rollouts_of_our_own_are_orphans(
    provider: "Provider", sandboxes: Sandboxes
) -> None:
    """Open, unreachable, unlabelled: left alone. Foreign: not even looked at."""
    expected = {
        add(provider, owner("open")): Verdict.OPEN,
        add(provider, owner("ended")): Verdict.ORPHAN,
        add(provider, owner("unreachable")): Verdict.UNKNOWN,
        add(provider, Ownership(deployment=OURS)): Verdict.UNKNOWN,
    }
    add(provider, owner("ended", deployment="theirs"))
    assert await judged(sandboxes) == expected


async def test_a_filter_that_is_ignored_costs_no_foreign_sandbox(
    provider: "Provider", sandboxes: Sandboxes
) -> None:
    """A provider that lists everything is not believed: each sandbox's own labels are read."""
    provider.ignores_labels = True
    add(provider, owner("ended", deployment="theirs"))
    assert await judged(sandboxes) == {}


async def test_a_young_orphan_is_spared(provider: "Provider", sandboxes: Sandboxes) -> None:
    """Younger than the grace period: not yet."""
    young = add(provider, owner("ended"))
    assert await judged(sandboxes, grace_seconds=3600) == {young: Verdict.YOUNG}


async def test_a_list_that_fails_is_no_empty_list(
    provider: "Provider", sandboxes: Sandboxes
) -> None:
    """An error of the list is the sweep's error, on the first page and on a later one."""

    async def broken(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "down"}, status=400)

    add(provider, owner("ended"))
    provider.instead["GET /api/v1/sandbox"] = broken
    with pytest.raises(StageError, match="down"):
        await judge(sandboxes, OURS, states, 0)


async def test_orphans_are_buried_and_deleted(
    provider: "Provider", sandboxes: Sandboxes, tmp_path: Path
) -> None:
    """A tombstone first, then the delete; one that the provider refuses is reported, not lost."""
    store = Store.open(str(tmp_path))
    doomed, stubborn = add(provider, owner("doomed")), add(provider, owner("stubborn"))

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "not today"}, status=400)

    provider.instead[f"DELETE /api/v1/sandbox/{stubborn}"] = refuse
    orphans = await judge(sandboxes, OURS, states, 0)
    done = {
        one.sandbox_id: one for one in await delete_orphans(sandboxes, store, OURS, states, orphans)
    }
    assert done[doomed].deleted
    assert provider.alive() == [stubborn]
    assert "not today" in str(done[stubborn].error)
    for one in done.values():
        assert await store.get(keys.tombstone(str(one.attempt))) is not None


async def test_a_rollout_that_was_reset_since_it_was_judged_is_spared(
    provider: "Provider", sandboxes: Sandboxes, tmp_path: Path
) -> None:
    """Right before its delete each rollout is looked up once more."""
    lives = add(provider, owner("reset"))
    orphans = await judge(sandboxes, OURS, states, 0)

    async def reopened(rollout: str, run: str | None) -> RunState:
        return RunState(is_open=True, why=f"{rollout}, run {run}, is open again")

    store = Store.open(str(tmp_path))
    [spared] = await delete_orphans(sandboxes, store, OURS, reopened, orphans)
    assert (spared.verdict, spared.deleted) == (Verdict.OPEN, False)
    assert provider.alive() == [lives]


def test_a_report_of_many_fits_into_a_history() -> None:
    """What a report names, with the longest ids there are, stays under 64 KiB."""
    longest = SweptSandbox(
        sandbox_id="s" * 64,
        rollout="r" * 200,
        run="u" * 36,
        attempt="a" * 36,
        age_seconds=1,
        verdict=Verdict.ORPHAN,
        why="w" * 200,
        error="e" * 300,
    )
    assert REPORTED * len(longest.model_dump_json()) < 64 * 1024
