"""
Tests for L{shout.measure.histogram}.
"""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.histogram import Histogram, RoundTrips
from tests.measure.fakes import histogramOf
from tests.properties import untimed

NANOSECONDS = st.integers(0, 2**63 - 1) | st.integers(0, 10**9)
TIMES = st.lists(st.integers(0, 2**40), min_size=1)


class HistogramTests(SynchronousTestCase):
    """
    Tests for L{Histogram}.
    """

    def test_empty(self) -> None:
        """
        All figures of an empty histogram are 0, and there are no statistics.
        """
        histogram = Histogram()
        self.assertEqual(
            (histogram.count, histogram.total, histogram.squares), (0, 0, 0)
        )
        self.assertEqual((histogram.min, histogram.max, histogram.last), (0, 0, 0))
        self.assertEqual((histogram.mean, histogram.stddev), (0, 0))
        self.assertEqual(histogram.percentile(50), 0)
        self.assertEqual(list(histogram.buckets()), [])
        self.assertIsNone(histogram.summarize())

    def test_memory(self) -> None:
        """
        A histogram takes memory for the buckets that are not empty: with round trips
        that differ by a factor of two at most 129.
        """
        histogram = histogramOf(range(1_000_000, 2_000_001, 100))
        self.assertEqual(len(histogram._counts), 129)

    @untimed
    @given(st.lists(st.lists(NANOSECONDS)))
    def test_merge(self, several: list[list[int]]) -> None:
        """
        The merged histogram is that of all round trips together.
        """
        merged = Histogram.merge(map(histogramOf, several))
        self.assertEqual(vars(merged), vars(histogramOf(chain(*several))))

    @untimed
    @given(st.lists(NANOSECONDS, min_size=1))
    def test_exact(self, times: list[int]) -> None:
        """
        The count, the sums and the extremes are exact.
        """
        histogram = histogramOf(times)
        self.assertEqual(histogram.count, len(times))
        self.assertEqual(histogram.total, sum(times))
        self.assertEqual(histogram.squares, sum(each**2 for each in times))
        self.assertEqual(
            (histogram.min, histogram.max, histogram.last),
            (min(times), max(times), times[-1]),
        )

    @untimed
    @given(NANOSECONDS)
    def test_bucket(self, time: int) -> None:
        """
        A round trip is counted in a bucket that contains it, and whose width is
        less than 1 % of it.
        """
        (bucket,) = histogramOf([time]).buckets()
        self.assertEqual(bucket.count, 1)
        self.assertTrue(bucket.low <= time < bucket.high)
        self.assertLess(bucket.high - bucket.low - 1, max(1, time / 100))

    @untimed
    @given(st.lists(NANOSECONDS))
    def test_order(self, times: list[int]) -> None:
        """
        The buckets are in order, do not overlap, and contain every round trip.
        """
        buckets = list(histogramOf(times).buckets())
        self.assertEqual(sum(bucket.count for bucket in buckets), len(times))
        for before, after in pairwise(buckets):
            self.assertLessEqual(before.high, after.low)


class StatisticsTests(SynchronousTestCase):
    """
    Tests for the statistics of L{Histogram}.
    """

    @untimed
    @given(TIMES)
    def test_mean(self, times: list[int]) -> None:
        """
        The mean equals that of the standard library, to the nearest nanosecond.
        """
        expected = statistics.mean(map(Fraction, times))
        error = abs(histogramOf(times).mean - expected)
        self.assertLessEqual(error, Fraction(1, 2))

    @untimed
    @given(TIMES)
    def test_stddev(self, times: list[int]) -> None:
        """
        The standard deviation equals that of the standard library, rounded down.
        """
        stddev = histogramOf(times).stddev
        expected = statistics.pstdev(times)
        self.assertTrue(math.isclose(stddev, expected, rel_tol=1e-9, abs_tol=1))

    @untimed
    @given(TIMES, st.integers(1, 100))
    def test_percentile(self, times: list[int], percent: int) -> None:
        """
        A percentile is that of nearest rank, within 0.4 %.
        """
        rank = math.ceil(len(times) * percent / 100)
        expected = sorted(times)[rank - 1]
        error = abs(histogramOf(times).percentile(percent) - expected)
        self.assertLessEqual(error, max(0.5, 0.004 * expected))

    @untimed
    @given(TIMES)
    def test_median(self, times: list[int]) -> None:
        """
        The 50th percentile is the standard library's lower median.
        """
        expected = statistics.median_low(times)
        error = abs(histogramOf(times).percentile(50) - expected)
        self.assertLessEqual(error, max(0.5, 0.004 * expected))

    def test_one(self) -> None:
        """
        All statistics of a single round trip equal it, and its deviation is 0.
        """
        time = 123_456_789
        self.assertEqual(
            histogramOf([time]).summarize(),
            RoundTrips(time, time, time, time, time, time, 0),
        )
