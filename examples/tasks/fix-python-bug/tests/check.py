"""Compares the package with sets of integers."""

import random
import unittest

from intervals import Interval, gaps, merge, total_length


def points(intervals):
    return {point for interval in intervals for point in range(interval.start, interval.end)}


def from_points(wanted):
    """Maximal runs of a set of integers."""
    runs = []
    for point in sorted(wanted):
        if runs and runs[-1][1] == point:
            runs[-1][1] = point + 1
        else:
            runs.append([point, point + 1])
    return [Interval(start, end) for start, end in runs]


def some_intervals(chosen):
    result = []
    for _ in range(chosen.randrange(6)):
        start = chosen.randrange(-10, 20)
        result.append(Interval(start, start + chosen.randrange(1, 8)))
    return result


class AgainstSets(unittest.TestCase):
    def test_many_inputs(self):
        chosen = random.Random(20)
        for _ in range(3000):
            intervals = some_intervals(chosen)
            start = chosen.randrange(-12, 15)
            within = Interval(start, start + chosen.randrange(1, 20))
            given = list(intervals)
            self.assertEqual(from_points(points(intervals)), merge(intervals))
            self.assertEqual(len(points(intervals)), total_length(intervals))
            free = points([within]) - points(intervals)
            self.assertEqual(from_points(free), gaps(intervals, within))
            self.assertEqual(given, intervals, "the input was changed")

    def test_empty_intervals_are_still_refused(self):
        with self.assertRaises(ValueError):
            Interval(3, 3)


if __name__ == "__main__":
    unittest.main()
