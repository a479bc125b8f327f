"""What `rolldock show` says of a rollout's origin, of where the two part, and of its replays."""

from typing import Final

from rich.table import Table

from rolldock.cli.console import cells, number, table
from rolldock.cli.results import ending
from rolldock.errors import UsageError
from rolldock.models.replay import Divergence, ReplayFrom
from rolldock.models.result import RolloutResult
from rolldock.models.trace import Trace
from rolldock.store.store import Store
from rolldock.trainer.origins import replays_of, stored_result
from rolldock.trainer.recordings import read_recording

_SHOWN: Final = 20
"""Replays of which the results are looked up; a rollout may have thousands."""


async def origin_lines(store: Store, result: RolloutResult) -> list[tuple[str, str]]:
    """Fields by their names: what it replays, how much was played, where the two part."""
    spec = result.spec
    if spec.replay_of is None:
        return []
    lines = [("replay of", f"{spec.replay_of}{_from(result)}")]
    if spec.plays_recording and result.trace is not None:
        played = f"{result.trace.n_replayed} of {result.trace.n_turns} turns"
        lines.append(("recorded", played))
        try:
            trace = await read_recording(store, result.rollout, result.trace)
        except UsageError as error:
            return [*lines, ("parted", f"not known: {error}")]
        lines += [("parted", _parted(one)) for one in divergences(trace)]
    return lines


async def replays_table(store: Store, rollout: str) -> Table | None:
    """The replays of a rollout with their results; None: there are none."""
    ids = await replays_of(store, rollout)
    if not ids:
        return None
    made = table(("replay", "from", "status", "reward", "stop reason"), numbers=("reward",))
    for one in ids[:_SHOWN]:
        result = await stored_result(store, one)
        if result is None:
            made.add_row(*cells(one, None, "no result yet", None, None))
            continue
        kind = result.spec.replay and result.spec.replay.kind
        made.add_row(*cells(one, kind, result.status, number(result.reward), ending(result)))
    if len(ids) > _SHOWN:
        made.add_row(*cells(f"and {len(ids) - _SHOWN} more", "", "", "", ""))
    return made


def divergences(trace: Trace) -> list[Divergence]:
    """Where a replay asked what was not recorded, in the order of its slots."""
    found = [error.divergence for error in trace.errors]
    found += [turn.diverged for turn in trace.turns]
    return sorted((one for one in found if one is not None), key=lambda one: one.slot)


def _from(result: RolloutResult) -> str:
    point = result.spec.replay
    if point is None:
        return ""
    if point.kind is ReplayFrom.TURN:
        return f", from the turn in slot {point.turn} of attempt {point.attempt}"
    if point.kind is ReplayFrom.START:
        return ", from its start"
    return f", from the {point.kind} of attempt {point.attempt}"


def _parted(one: Divergence) -> str:
    recorded = "no recorded turn was left" if one.recorded is None else f"recorded {one.recorded!r}"
    after = "the model was asked from there on" if one.went_live else "it stopped there"
    return (
        f"at slot {one.slot}, after {one.turn} turns, in {one.field}: {recorded}, asked "
        f"{one.asked!r}; {after}"
    )
