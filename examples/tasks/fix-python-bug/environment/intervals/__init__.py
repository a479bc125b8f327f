"""Half-open integer intervals: merging, gaps and total length."""

from intervals.core import Interval, gaps, merge, total_length

__all__ = ["Interval", "gaps", "merge", "total_length"]
