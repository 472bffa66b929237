"""
The flows of a measurement with longer round trips than others.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence

from shout.measure.chance import LEVEL, differenceByChance
from shout.measure.result import Result

# Smaller differences between round trips do not count: nanoseconds, and a fraction of
# the shorter one.  Busy machines cause some of 0.1 ms, and histograms some of 0.8 %.
_LEAST_DIFFERENCE = 200_000
_LEAST_RATIO = 0.02

# A machine or a network delays several successive probes, which belong to flows beside
# each other.  The test assumes that round trips are independent, so it has a margin,
# and a number of round trips per flow that it needs.
_LEVEL = LEVEL / 20
_LEAST_FOR_GROUPS = 5
_LEAST_FOR_OTHERS = 10

# Without two groups, differences have to be larger by this factor.
_OTHERS = 5


def compareTimes(flows: Sequence[Result]) -> tuple[tuple[Result, ...], bool]:
    """
    Return the slow flows, and C{True} if round trips differ in another way.
    """
    medians = sorted(flow.roundTrips.p50 for flow in flows if flow.roundTrips)
    mean = sum(flow.histogram.count for flow in flows) / max(1, len(medians))
    if len(medians) < 2 or mean < _LEAST_FOR_GROUPS:
        return (), False
    threshold = _findGap(medians)
    if threshold is not None:
        counts = [_countAbove(flow, threshold) for flow in flows]
        isSlow = [2 * above > count for count, above in counts]
        slow = [each for each, chosen in zip(counts, isSlow) if chosen]
        fast = [each for each, chosen in zip(counts, isSlow) if not chosen]
        # Any of the gaps between two flows could have been the clearest.
        chance = differenceByChance(counts) * len(medians)
        if _share(slow) >= 0.7 and _share(fast) <= 0.3 and chance < _LEVEL:
            return tuple(flow for flow, chosen in zip(flows, isSlow) if chosen), False
    few = len(medians) // 16
    low, high = medians[few], medians[-1 - few]
    if mean < _LEAST_FOR_OTHERS or not _isApart(low, high, _OTHERS):
        return (), False
    counts = [_countAbove(flow, (low + high) / 2) for flow in flows]
    return (), differenceByChance(counts) < _LEVEL


def _countAbove(flow: Result, threshold: float) -> tuple[int, int]:
    """
    Return the number of round trips, and of those above a threshold.
    """
    buckets = flow.histogram.buckets()
    above = sum(bucket.count for bucket in buckets if bucket.low > threshold)
    return flow.histogram.count, above


def _share(counts: Sequence[tuple[int, int]]) -> float:
    return sum(above for _, above in counts) / max(1, sum(count for count, _ in counts))


def _isApart(low: float, high: float, factor: int = 1) -> bool:
    return high - low >= factor * max(_LEAST_DIFFERENCE, _LEAST_RATIO * low)


# Two groups are clearly apart if hardly any flow is in the middle half of the distance
# between them.  If the medians of flows are spread evenly, every fourth one is there.
# The distance is that between the medians of both groups, so a few flows with extreme
# round trips do not matter.
def _findGap(medians: Sequence[int]) -> float | None:
    """
    Return the threshold between two groups of round trips, or C{None} if there are no
    two groups.  If there are several, it is the one with the most flows on either side.

    @param medians: The median of each flow, in ascending order.
    """
    count = len(medians)
    gap, most = None, 0
    for split in range(1, count):
        low, high = medians[(split - 1) // 2], medians[(split + count) // 2]
        size = min(split, count - split)
        if size > most and _isApart(low, high):
            margin = (high - low) / 4
            middle = bisect(medians, high - margin) - bisect(medians, low + margin)
            if middle <= count // 32:
                gap, most = (low + high) / 2, size
    return gap
