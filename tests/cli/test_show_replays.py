"""What `show` says of a replay's origin, of where the two part, and of an origin's replays."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rolldock.cli.show_replays import origin_lines, replays_table
from rolldock.models.failure import Cause
from rolldock.models.replay import Divergence, Replayed, ReplayFrom, ReplayPoint
from rolldock.store.recordings import delete_recordings
from rolldock.store.store import Store
from rolldock.trainer.origins import link_origin
from tests.ended import conversation, end_rollout, spec_of

ATTEMPT = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.open(str(tmp_path))


def replay_of(origin: str, rollout: str, kind: ReplayFrom, **fields: Any) -> Any:
    """The spec of a replay."""
    point = ReplayPoint(kind=kind, attempt=ATTEMPT, **fields)
    return spec_of(rollout, replay_of=origin, replay=point)


async def test_a_replay_says_where_it_parted(store: Store) -> None:
    """Its origin, from where it began, how much was played, and the difference."""
    first, second = conversation(2)
    played = Replayed(attempt=ATTEMPT, slot=0)
    parted = Divergence(
        slot=1,
        recorded_slot=1,
        turn=1,
        field="messages[2].content",
        recorded="five past twelve",
        asked="ten past twelve",
        went_live=True,
    )
    turns = [
        first.model_copy(update={"replayed": played}),
        second.model_copy(update={"diverged": parted}),
    ]
    spec = replay_of("a", "a@recording-1", ReplayFrom.RECORDING)
    result = await end_rollout(store, spec, turns)
    lines = dict(await origin_lines(store, result))
    assert lines["replay of"] == f"a, from the recording of attempt {ATTEMPT}"
    assert lines["recorded"] == "1 of 2 turns"
    assert lines["parted"] == (
        "at slot 1, after 1 turns, in messages[2].content: recorded 'five past twelve', asked "
        "'ten past twelve'; the model was asked from there on"
    )
    await delete_recordings(store, result, result.ended_at + timedelta(days=9))
    assert "deleted after 9 days" in dict(await origin_lines(store, result))["parted"]


async def test_an_origin_lists_its_replays_with_their_results(store: Store) -> None:
    """Also one that has no result yet; a rollout without replays has no table."""
    specs = [
        replay_of("a", "a@grade-1", ReplayFrom.GRADE),
        replay_of("a", "a@start-1", ReplayFrom.START),
        replay_of("a", "a@turn-1", ReplayFrom.TURN, turn=0),
    ]
    for spec in specs:
        await link_origin(store, spec)
    await end_rollout(store, specs[0])
    await end_rollout(store, specs[1], cause=Cause.SANDBOX_LOST)
    made = await replays_table(store, "a")
    assert made is not None
    console = Console(width=120)
    with console.capture() as said:
        console.print(made)
    rows = [line.split() for line in said.get().splitlines() if line.startswith("a@")]
    assert rows == [
        ["a@grade-1", "grade", "completed", "1", "agent_completed"],
        ["a@start-1", "start", "failed", "-", "failed:", "sandbox_lost"],
        ["a@turn-1", "-", "no", "result", "yet", "-", "-"],
    ]
    assert await replays_table(store, "b") is None
    assert await origin_lines(store, await end_rollout(store, spec_of("a"))) == []
