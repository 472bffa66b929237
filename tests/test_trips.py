"""
Tests for L{shout.measurement.trips}.
"""

from __future__ import annotations

from itertools import pairwise
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measurement.trips import Trips

NANOSECONDS = st.integers(0, 2**63 - 1) | st.integers(0, 10**9)


class TripsTests(SynchronousTestCase):
    """
    Tests for L{Trips}.
    """

    def test_none(self) -> None:
        """
        Where there are none, everything is 0.
        """
        trips = Trips()
        self.assertEqual((trips.count, trips.total, trips.squares), (0, 0, 0))
        self.assertEqual((trips.least, trips.most, trips.last), (0, 0, 0))
        self.assertEqual(list(trips.buckets()), [])

    def test_memory(self) -> None:
        """
        They take 58 KB, also when the longest that there can be is among them.
        """
        trips = Trips()
        trips.add(2**63 - 1)
        size = sum(map(getsizeof, vars(trips).values()))
        self.assertEqual(size // 1000, 58)

    @given(st.lists(NANOSECONDS, min_size=1))
    def test_exact(self, times: list[int]) -> None:
        """
        The number, the sums and the extremes are exact.
        """
        trips = Trips()
        for each in times:
            trips.add(each)
        self.assertEqual(trips.count, len(times))
        self.assertEqual(trips.total, sum(times))
        self.assertEqual(trips.squares, sum(each**2 for each in times))
        self.assertEqual(
            (trips.least, trips.most, trips.last), (min(times), max(times), times[-1])
        )

    @given(NANOSECONDS)
    def test_bucket(self, time: int) -> None:
        """
        A round trip falls into a bucket that holds it, and whose width is less
        than 1 % of it.
        """
        trips = Trips()
        trips.add(time)
        ((low, high, number),) = trips.buckets()
        self.assertEqual(number, 1)
        self.assertTrue(low <= time < high)
        self.assertLess(high - low - 1, max(1, time / 100))

    @given(st.lists(NANOSECONDS))
    def test_order(self, times: list[int]) -> None:
        """
        The buckets come in order, do not overlap, and hold everything.
        """
        trips = Trips()
        for each in times:
            trips.add(each)
        buckets = list(trips.buckets())
        self.assertEqual(sum(bucket.trips for bucket in buckets), len(times))
        for before, after in pairwise(buckets):
            self.assertLessEqual(before.high, after.low)
