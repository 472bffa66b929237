"""
A histogram of round trips, whose memory does not grow with their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isqrt

# As in an HDR histogram there are 128 buckets from each power of two to the next.
# A bucket is at most 1/128 as wide as its values are large, so its middle differs
# from them by at most 0.4 %.  Below 256 ns each value has its own bucket.
_BITS = 7
_EXACT = 2 << _BITS


@dataclass(frozen=True)
class Bucket:
    """
    The number of round trips from C{low} to less than C{high} nanoseconds.
    """

    low: int
    high: int
    count: int


@dataclass(frozen=True)
class RoundTrips:
    """
    Statistics of round trips, all in nanoseconds.

    @ivar min: The shortest, exactly.

    @ivar mean: The arithmetic mean, rounded.

    @ivar p50: The 50th percentile, within 0.4 % like the other percentiles.

    @ivar p90: The 90th percentile.

    @ivar p99: The 99th percentile.

    @ivar max: The longest, exactly.

    @ivar stddev: The standard deviation of the whole population (not of a sample),
        rounded down.
    """

    min: int
    mean: int
    p50: int
    p90: int
    p99: int
    max: int
    stddev: int


class Histogram:
    """
    The distribution of round trips, in nanoseconds.

    Count, sum, sum of squares and extremes are exact; the distribution is kept to
    within 0.4 %.  All figures are 0 if there are no round trips.  A histogram takes
    memory for the buckets that are not empty, at most 7,296.

    @ivar count: Number of round trips.

    @ivar total: Sum of the round trips.

    @ivar squares: Sum of their squares.

    @ivar min: The shortest round trip.

    @ivar max: The longest round trip.

    @ivar last: The round trip that was added last.
    """

    def __init__(self) -> None:
        self.count = self.total = self.squares = 0
        self.min = self.max = self.last = 0
        self._counts: Counter[int] = Counter()

    def add(self, nanoseconds: int) -> None:
        """
        Add a round trip.

        @param nanoseconds: Duration from 0 to C{2**63 - 1}.
        """
        if nanoseconds > self.max:
            self.max = nanoseconds
        if nanoseconds < self.min or not self.count:
            self.min = nanoseconds
        self.count += 1
        self.total += nanoseconds
        self.squares += nanoseconds * nanoseconds
        self.last = nanoseconds
        index = nanoseconds
        if nanoseconds >= _EXACT:
            shift = nanoseconds.bit_length() - _BITS - 1
            index = (shift << _BITS) + (nanoseconds >> shift)
        self._counts[index] += 1

    @classmethod
    def merge(cls, histograms: Iterable[Histogram]) -> Histogram:
        """
        Return the distribution of the round trips of several histograms.
        """
        merged = cls()
        filled = [each for each in histograms if each.count]
        for each in filled:
            merged.count += each.count
            merged.total += each.total
            merged.squares += each.squares
            merged._counts.update(each._counts)
        if filled:
            merged.min = min(each.min for each in filled)
            merged.max = max(each.max for each in filled)
            merged.last = filled[-1].last
        return merged

    def buckets(self) -> Iterator[Bucket]:
        """
        Yield the buckets that are not empty, the shortest round trips first.
        """
        for index, count in sorted(self._counts.items()):
            shift = max(0, (index >> _BITS) - 1)
            low = (index - (shift << _BITS)) << shift
            yield Bucket(low, low + (1 << shift), count)

    @property
    def mean(self) -> int:
        """
        The arithmetic mean, rounded to the nearest nanosecond.
        """
        return divide(self.total, self.count) if self.count else 0

    @property
    def stddev(self) -> int:
        """
        The standard deviation of the whole population, rounded down.
        """
        if not self.count:
            return 0
        return isqrt(self.count * self.squares - self.total**2) // self.count

    def percentile(self, percent: int) -> int:
        """
        Return a percentile by nearest rank, within 0.4 %.

        @param percent: Percentage from 1 to 100.
        """
        rank = -(-self.count * percent // 100)
        for bucket in self.buckets():
            rank -= bucket.count
            if rank <= 0:
                middle = (bucket.low + bucket.high - 1) // 2
                return max(self.min, min(middle, self.max))
        return 0

    def summarize(self) -> RoundTrips | None:
        """
        Return the statistics, or C{None} if there are no round trips.
        """
        if not self.count:
            return None
        p50, p90, p99 = map(self.percentile, (50, 90, 99))
        return RoundTrips(self.min, self.mean, p50, p90, p99, self.max, self.stddev)


def divide(total: int, count: int) -> int:
    """
    Return a quotient, rounded to the nearest integer.
    """
    return (2 * total + count) // (2 * count)
