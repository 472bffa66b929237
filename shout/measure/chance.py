"""
The probability that a difference between flows is chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import exp, inf, lgamma, log, log1p, pi, sqrt

Counts = Iterable[tuple[int, float]]
"""
For each flow the number of its datagrams, and the number of those with a property, such
as lost.
"""

FlowNumbers = Mapping[tuple[int, float], int]
"""
Number of flows with each pair of such numbers.
"""

LEVEL = 0.001
"""
Probability below which a difference is beyond chance.
"""

# The bound is computed with each of these tilts, and the least one counts.  The best
# tilt is about 0.9 for two flows, 0.5 for 32, and 0.1 for 4,096.
_TILTS = (0.07, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)

# The width of a table of a binomial distribution, in standard deviations to each side,
# and its rows per standard deviation.
_REACH = 30
_RESOLUTION = 4

_Table = list[tuple[float, float, float]]


def differenceByChance(counts: Counts | FlowNumbers) -> float:
    """
    Return an upper bound of the probability of a difference as large as this or larger,
    if each datagram has the property with the same probability, whatever its flow.

    It is twice the lesser of two bounds: for the flow with the highest share, and for
    the deviance of all.
    """
    flows: FlowNumbers = Counter(counts)
    total = sum(size * count for (size, _), count in flows.items())
    hits = sum(hits * count for (_, hits), count in flows.items())
    if not 0 < hits < total:
        return 1.0
    bounds = _highestShare(flows, total, hits), _deviance(flows, total, hits)
    return min(1.0, 2 * min(bounds))


def silenceByChance(
    silent: int, size: int, others: int, total: int, hits: float
) -> float:
    """
    Return an upper bound of the probability that all datagrams of a number of flows are
    lost, if each is lost with the same probability as those of the other flows.

    As that is known from a limited number of datagrams only, it is weighted by the rule
    of succession (Laplace).

    @param silent: Number of flows without an answer.

    @param size: Number of datagrams of each of them.

    @param others: Number of other flows.

    @param total: Number of their datagrams.

    @param hits: Number of these that were lost.
    """
    all = lgamma(hits + 1 + size) - lgamma(hits + 1)
    all -= lgamma(total + 2 + size) - lgamma(total + 2)
    return exp(min(0.0, _logChoose(silent + others, silent) + silent * all))


def mostLikelySplit(shares: Counts) -> int:
    """
    Return the number of flows in the first of two groups whose shares differ most, in
    terms of likelihood, given the number of ways to choose as many flows.

    @param shares: The counts of the flows, from the highest share to the lowest.
    """
    flows = [*shares]
    total = sum(size for size, _ in flows)
    hits = sum(hits for _, hits in flows)
    best, most = 0, -inf
    sizes = first = 0.0
    for index, (one, other) in enumerate(pairwise(flows), 1):
        sizes += one[0]
        first += one[1]
        if one[1] * other[0] == other[1] * one[0]:
            # Flows with equal shares stay together.
            continue
        likelihood = _divergence(sizes, first, hits / total)
        likelihood += _divergence(total - sizes, hits - first, hits / total)
        likelihood -= _logChoose(len(flows), index)
        if likelihood > most:
            best, most = index, likelihood
    return best


def _highestShare(flows: FlowNumbers, total: int, hits: float) -> float:
    """
    Return the exact probability for the most extreme flow, times the number of flows.
    """
    highest: dict[int, float] = {}
    for size, count in flows:
        highest[size] = max(count, highest.get(size, 0))
    tails = (_tail(size, count, total, hits) for size, count in highest.items())
    return sum(flows.values()) * min(tails)


def _tail(size: int, least: float, total: int, hits: float) -> float:
    """
    Return the probability that C{least} or more of the hits fall on C{size} of the
    datagrams: the tail of the hypergeometric distribution.
    """
    if least * total <= size * hits:
        return 1.0
    others = total - size - hits
    term = exp(
        _logChoose(size, least)
        + _logChoose(total - size, hits - least)
        - _logChoose(total, hits)
    )
    tail, count = term, least
    while term > tail * 1e-9:
        term *= (size - count) * (hits - count)
        count += 1
        term /= count * (others + count)
        tail += term
    return tail


def _logChoose(n: float, k: float) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


# The deviance is the logarithm of the likelihood of the counts if each flow has a share
# of its own, relative to that with one share for all.  The usual approximation of its
# distribution by chi-square is far off for a few losses per flow.
#
# An exponential bound is right for these, too: for any tilt t > 0 the probability of g
# or more is at most E[exp(t G)] / exp(t g).  As the number of all hits is given, this
# expectation is conditional.  Its saddlepoint is the minimum over s of
# E[exp(s X + t G)], where X is the number of hits less the expected one, times the
# ratio of the standard deviations of X without and with the tilt.  By the theorem of
# Bahadur and Rao the bound is divided by t and the width of the tilted distribution.
def _deviance(flows: FlowNumbers, total: int, hits: float) -> float:
    """
    Return an upper bound of the probability of this deviance or more.
    """
    share = hits / total
    deviance = sum(
        count * _divergence(size, hits, share) for (size, hits), count in flows.items()
    )
    sizes: Counter[int] = Counter()
    for (size, _), count in flows.items():
        # Tables for nearly the same size are not worth their time.
        shift = max(0, size.bit_length() - 5)
        sizes[size >> shift << shift] += count
    tables = [(count, _table(size, share)) for size, count in sizes.items()]
    variance = sum(size * count for size, count in sizes.items()) * share * (1 - share)
    least, s = 1.0, 0.0
    for tilt in _TILTS:
        for _ in range(20):
            log, x, xx, gg, xg = _cumulants(tables, s, tilt)
            # Newton's method.
            s -= x / xx
            if x * x < xx * 1e-6:
                break
        bound = exp(min(0.0, log - tilt * deviance)) * sqrt(variance / xx)
        if log < tilt * deviance:
            width = tilt * sqrt(2 * pi * max(0.0, gg - xg * xg / xx))
            least = min(least, bound / max(1.0, width))
    return least


def _divergence(size: float, hits: float, share: float) -> float:
    """
    Return the deviance of one flow.
    """
    misses = size - hits
    divergence = hits * log(hits / (size * share)) if hits else 0.0
    if misses:
        divergence += misses * log(misses / (size * (1 - share)))
    return divergence


def _table(size: int, share: float) -> _Table:
    """
    Return a binomial distribution: the number of hits less the expected one, the
    deviance, and the logarithm of the probability.
    """
    expected = size * share
    sigma = sqrt(expected * (1 - share))
    step = max(1, int(sigma / _RESOLUTION))
    reach = int(_REACH * (sigma + 2))
    first, end = max(0, int(expected) - reach), min(size, int(expected) + reach) + 1
    return [
        (
            hits - expected,
            _divergence(size, hits, share),
            _logChoose(size, hits)
            + hits * log(share)
            + (size - hits) * log1p(-share)
            + log(step),
        )
        for hits in range(first, end, step)
    ]


def _cumulants(tables: list[tuple[int, _Table]], s: float, t: float) -> list[float]:
    """
    Return the logarithm of E[exp(s X + t G)] for all flows and some of its derivatives:
    the mean of X, and the variances of X and G and their covariance.
    """
    sums = [0.0] * 5
    for count, table in tables:
        weights = [exp(p + s * x + t * g) for x, g, p in table]
        total = x1 = g1 = xx = gg = xg = 0.0
        for weight, (x, g, _) in zip(weights, table):
            total += weight
            x1 += weight * x
            g1 += weight * g
            xx += weight * x * x
            gg += weight * g * g
            xg += weight * x * g
        x1, g1 = x1 / total, g1 / total
        own = (xx / total - x1 * x1, gg / total - g1 * g1, xg / total - x1 * g1)
        for index, value in enumerate((log(total), x1, *own)):
            sums[index] += count * value
    return sums
