import unittest

from intervals import Interval, gaps, merge, total_length


class MergeTest(unittest.TestCase):
    def test_disjoint_intervals_stay_apart(self):
        self.assertEqual([Interval(0, 2), Interval(5, 7)], merge([Interval(5, 7), Interval(0, 2)]))

    def test_touching_intervals_become_one(self):
        self.assertEqual([Interval(0, 4)], merge([Interval(0, 2), Interval(2, 4)]))

    def test_an_interval_inside_another_changes_nothing(self):
        self.assertEqual([Interval(0, 10)], merge([Interval(0, 10), Interval(2, 4)]))


class GapsTest(unittest.TestCase):
    def test_gaps_are_what_is_not_covered(self):
        self.assertEqual([Interval(2, 5)], gaps([Interval(0, 2), Interval(5, 9)], Interval(0, 9)))

    def test_gaps_stay_within_the_bounds(self):
        self.assertEqual([Interval(3, 5)], gaps([Interval(0, 3), Interval(8, 9)], Interval(1, 5)))


class TotalLengthTest(unittest.TestCase):
    def test_shared_integers_count_once(self):
        self.assertEqual(10, total_length([Interval(0, 10), Interval(2, 4), Interval(5, 6)]))


if __name__ == "__main__":
    unittest.main()
