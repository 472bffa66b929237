"""
Tests for L{shout.measure.histogram}.
"""

from __future__ import annotations

from itertools import pairwise
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.histogram import Histogram

NANOSECONDS = st.integers(0, 2**63 - 1) | st.integers(0, 10**9)


class TripsTests(SynchronousTestCase):
    """
    Tests for L{Histogram}.
    """

    def test_none(self) -> None:
        """
        Where there are none, everything is 0.
        """
        histogram = Histogram()
        self.assertEqual(
            (histogram.count, histogram.total, histogram.squares), (0, 0, 0)
        )
        self.assertEqual((histogram.least, histogram.most, histogram.last), (0, 0, 0))
        self.assertEqual(list(histogram.buckets()), [])

    def test_memory(self) -> None:
        """
        They take 58 KB, also when the longest that there can be is among them.
        """
        histogram = Histogram()
        histogram.add(2**63 - 1)
        size = sum(map(getsizeof, vars(histogram).values()))
        self.assertEqual(size // 1000, 58)

    @given(st.lists(NANOSECONDS, min_size=1))
    def test_exact(self, times: list[int]) -> None:
        """
        The number, the sums and the extremes are exact.
        """
        histogram = Histogram()
        for each in times:
            histogram.add(each)
        self.assertEqual(histogram.count, len(times))
        self.assertEqual(histogram.total, sum(times))
        self.assertEqual(histogram.squares, sum(each**2 for each in times))
        self.assertEqual(
            (histogram.least, histogram.most, histogram.last),
            (min(times), max(times), times[-1]),
        )

    @given(NANOSECONDS)
    def test_bucket(self, time: int) -> None:
        """
        A round trip falls into a bucket that holds it, and whose width is less
        than 1 % of it.
        """
        histogram = Histogram()
        histogram.add(time)
        ((low, high, number),) = histogram.buckets()
        self.assertEqual(number, 1)
        self.assertTrue(low <= time < high)
        self.assertLess(high - low - 1, max(1, time / 100))

    @given(st.lists(NANOSECONDS))
    def test_order(self, times: list[int]) -> None:
        """
        The buckets come in order, do not overlap, and hold everything.
        """
        histogram = Histogram()
        for each in times:
            histogram.add(each)
        buckets = list(histogram.buckets())
        self.assertEqual(sum(bucket.histogram for bucket in buckets), len(times))
        for before, after in pairwise(buckets):
            self.assertLessEqual(before.high, after.low)
