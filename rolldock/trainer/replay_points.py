"""From where a rollout is replayed: the attempt that has what is needed, and the turn.

It looks into the store and promises nothing for later: a recording may expire before it is played.
"""

from datetime import UTC, datetime

from rolldock.errors import StageError, UsageError
from rolldock.models.replay import ReplayFrom, ReplayPoint
from rolldock.models.result import AttemptResult, RolloutResult
from rolldock.models.trace import Trace
from rolldock.models.turn import Turn
from rolldock.sandbox.checkpoints import take_up
from rolldock.store.store import Store
from rolldock.trainer.recordings import read_recording
from rolldock.trainer.replay_request import ReplayRequest


async def find_point(store: Store, result: RolloutResult, request: ReplayRequest) -> ReplayPoint:
    """Where a replay of a rollout takes up.

    Raises:
        UsageError: no attempt has what is needed; the message says what is missing, and since when.
        UnavailableError: the store does not answer.
    """
    attempts = _asked(result, request.attempt)
    if request.kind is ReplayFrom.START:
        return ReplayPoint(kind=request.kind, attempt=attempts[0].attempt)
    if request.kind is ReplayFrom.GRADE:
        return ReplayPoint(kind=request.kind, attempt=await _kept(store, result, attempts))
    trace = await _recorded(store, result, attempts)
    turn = None
    if request.turn is not None:
        turn = turn_slot(trace, request.turn, request.branch)
    return ReplayPoint(
        kind=request.kind,
        attempt=trace.attempt,
        turn=turn,
        on_divergence=request.on_divergence,
    )


def turn_slot(trace: Trace, turn: int, branch: int | None = None) -> int:
    """The slot of a branch's turn.

    Args:
        turn: counted on the branch, from 1.
        branch: the slot that the branch leads to; None: the last turn of the conversation, beside
            which auxiliary calls stand.

    Raises:
        UsageError: there is no such turn; the message says which there are.
    """
    by_slot = {one.slot: one for one in trace.turns}
    end = _last_slot(trace) if branch is None else branch
    if end not in by_slot:
        raise UsageError(
            f"slot {end} is no turn of {trace.rollout}: `rolldock trace {trace.rollout}` lists them"
        )
    path = _path(by_slot, end)
    if turn > len(path):
        raise UsageError(
            f"turn {turn}: the branch to slot {end} has {len(path)} "
            f"turn{'s' if len(path) > 1 else ''}, at the slots {', '.join(map(str, path))}; "
            "--branch SLOT chooses another"
        )
    return path[turn - 1]


def _asked(result: RolloutResult, number: int | None) -> list[AttemptResult]:
    """The attempts to look at, the last one first."""
    found = [one for one in reversed(result.attempts) if number in (None, one.number)]
    if not found:
        raise UsageError(f"it has no attempt {number or 1}: there were {len(result.attempts)}")
    return found


async def _kept(store: Store, result: RolloutResult, attempts: list[AttemptResult]) -> str:
    """The last attempt whose workspace can be restored."""
    names = [one.attempt for one in attempts]
    if result.spec.only_grades and result.spec.replay is not None:
        # It kept nothing of its own: what it graded can be graded once more.
        names.append(result.spec.replay.attempt)
    missing: list[str] = []
    for attempt in names:
        try:
            await take_up(store, attempt, datetime.now(UTC))
        except StageError as error:
            missing.append(str(error))
            continue
        return attempt
    raise UsageError(f"{missing[0]} (`rolldock run --keep-workspace`, or keep_workspace=True)")


async def _recorded(store: Store, result: RolloutResult, attempts: list[AttemptResult]) -> Trace:
    """The trace of the last attempt that has a turn."""
    for attempt in attempts:
        if attempt.trace is not None and attempt.trace.n_turns > 0:
            return await read_recording(store, result.rollout, attempt.trace)
    errors = [one.trace_error for one in attempts if one.trace_error is not None]
    why = f": its trace could not be sealed: {errors[0]}" if errors else ""
    raise UsageError(f"nothing to play: no turn was recorded{why}")


def _last_slot(trace: Trace) -> int:
    """The last turn of the agent's own conversation, or the last one at all."""
    slots = [one.slot for one in trace.turns]
    return max([slot for slot in slots if slot not in trace.auxiliary] or slots)


def _path(by_slot: dict[int, Turn], end: int) -> list[int]:
    """The slots from a root to a turn, along `parent`."""
    path: list[int] = []
    at: int | None = end
    while at is not None and at in by_slot and at not in path:
        path.append(at)
        at = by_slot[at].parent
    return path[::-1]
