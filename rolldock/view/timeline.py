"""The stages of every attempt as bars on one scale of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rolldock.models.result import AttemptResult, Stage
from rolldock.view import words

_OTHER = "other"


@dataclass(frozen=True)
class Bar:
    """One stage of one attempt."""

    kind: str
    """The stage's name, or `other`: also of a stage that this version does not know."""
    label: str
    left_percent: float
    width_percent: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """One attempt."""

    attempt: AttemptResult
    bars: tuple[Bar, ...]
    seconds: float | None


@dataclass(frozen=True)
class Timeline:
    """Every attempt, and the stages that any of them came to, in order."""

    rows: tuple[Row, ...]
    stages: tuple[str, ...]
    seconds: float
    """The length of the scale."""


def timeline(started_at: datetime, attempts: Sequence[AttemptResult]) -> Timeline:
    """The bars of attempts; stages stand one after another from their attempt's start."""
    ends = [_end(attempt, started_at) for attempt in attempts]
    scale = max([*ends, 0.001])
    known = [str(stage) for stage in Stage]
    seen = {name for attempt in attempts for name in attempt.timings}
    ordered = [name for name in known if name in seen]
    return Timeline(
        rows=tuple(_row(attempt, started_at, scale) for attempt in attempts),
        stages=(*ordered, *sorted(seen.difference(known))),
        seconds=scale,
    )


def _end(attempt: AttemptResult, started_at: datetime) -> float:
    begins = (attempt.started_at - started_at).total_seconds()
    by_stages = begins + sum(attempt.timings.values())
    if attempt.ended_at is None:
        return by_stages
    return max(by_stages, (attempt.ended_at - started_at).total_seconds())


def _row(attempt: AttemptResult, started_at: datetime, scale: float) -> Row:
    at = (attempt.started_at - started_at).total_seconds()
    begins, bars = at, list[Bar]()
    names = [str(stage) for stage in Stage if stage in attempt.timings]
    for name in [*names, *sorted(attempt.timings.keys() - names)]:
        took = attempt.timings[name]
        kind = name if name in names else _OTHER
        bars.append(_bar(kind, words.stage(name), at, took, scale))
        at += took
    seconds = None
    if attempt.ended_at is not None:
        seconds = (attempt.ended_at - attempt.started_at).total_seconds()
        rest = begins + seconds - at
        if rest > scale / 1000:
            bars.append(_bar(_OTHER, "between the stages, and after them", at, rest, scale))
    return Row(attempt, tuple(bars), seconds)


def _bar(kind: str, label: str, at: float, took: float, scale: float) -> Bar:
    left = min(max(at / scale, 0.0), 1.0)
    width = min(max(took / scale, 0.0), 1.0 - left)
    return Bar(kind, label, round(left * 100, 3), round(width * 100, 3), took)
