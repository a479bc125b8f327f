"""The operations. An interval [start, end) holds start and does not hold end."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Interval:
    start: int
    end: int

    def __post_init__(self):
        if self.end <= self.start:
            raise ValueError(f"empty interval: [{self.start}, {self.end})")


def merge(intervals):
    """The same points as sorted intervals that neither overlap nor touch."""
    merged = []
    for interval in sorted(intervals):
        if merged and interval.start < merged[-1].end:
            merged[-1] = Interval(merged[-1].start, interval.end)
        else:
            merged.append(interval)
    return merged


def gaps(intervals, within):
    """The parts of `within` that no interval covers."""
    found = []
    position = within.start
    for interval in merge(intervals):
        if interval.start > position:
            found.append(Interval(position, interval.start))
        position = interval.end
    if position < within.end:
        found.append(Interval(position, within.end))
    return found


def total_length(intervals):
    """How many integers the intervals hold, each counted once."""
    return sum(interval.end - interval.start for interval in merge(intervals))
