"""
The flows of a measurement with longer round trips than others.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence

from shout.measure.chance import LEVEL, differenceByChance
from shout.measure.result import Result

# Smaller differences between round trips do not count: nanoseconds, and a fraction of
# the shorter one.  Machines cause some of 0.1 ms, and histograms some of 0.8 %.
_LEAST_DIFFERENCE = 100_000
_LEAST_RATIO = 0.02


def compareTimes(flows: Sequence[Result]) -> tuple[tuple[Result, ...], bool]:
    """
    Return the slow flows, and C{True} if round trips differ in another way.
    """
    medians = sorted(flow.roundTrips.p50 for flow in flows if flow.roundTrips)
    if len(medians) < 2:
        return (), False
    threshold = _findGap(medians)
    # Any of the gaps between two flows could have been the clearest.
    if (
        threshold is not None
        and _isSlowerByChance(flows, threshold) * (len(medians) - 1) < LEVEL / 2
    ):
        return tuple(
            flow
            for flow in flows
            if flow.roundTrips and flow.roundTrips.p50 > threshold
        ), False
    few = len(medians) // 16
    low, high = medians[few], medians[-1 - few]
    isUneven = (
        _isApart(low, high) and _isSlowerByChance(flows, (low + high) / 2) < LEVEL / 2
    )
    return (), isUneven


def _isSlowerByChance(flows: Sequence[Result], threshold: float) -> float:
    """
    Return the probability that the numbers of round trips above a threshold differ
    between flows by chance.
    """
    return differenceByChance(
        (
            flow.histogram.count,
            sum(
                each.count for each in flow.histogram.buckets() if each.low > threshold
            ),
        )
        for flow in flows
    )


def _isApart(low: float, high: float) -> bool:
    return high - low >= max(_LEAST_DIFFERENCE, _LEAST_RATIO * low)


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
