"""
The flows of a measurement that lose more than others.

Loss is any probe without the right reply in time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from math import ceil, log
from typing import NamedTuple

from shout.measure.chance import (
    LEVEL,
    differenceByChance,
    mostLikelySplit,
    silenceByChance,
)
from shout.measure.result import Result

LOSS = 0.1
"""
Additional loss of a quarter of the flows that enough probes would show.
"""

# Larger numbers of probes are not worth a hint.
_MAX_NEEDED = 10_000

# Flows are on the right side with these odds, times the number of flows.
_LEAST_ODDS = 10

Flows = tuple[Result, ...]


class LossGroups(NamedTuple):
    """
    The flows by their loss; see L{Verdict<shout.measure.verdict.Verdict>}.
    """

    dead: Flows = ()
    doubtful: Flows = ()
    lossy: Flows = ()
    unclear: Flows = ()
    needed: int | None = None


def without(flows: Iterable[Result], *groups: Flows) -> Flows:
    """
    Return the flows that are in none of the groups.
    """
    left = {flow.sourcePort for group in groups for flow in group}
    return tuple(flow for flow in flows if flow.sourcePort not in left)


def missing(flows: Iterable[Result]) -> int:
    """
    Return the number of probes of some flows without the right reply in time.
    """
    return sum(map(_missing, flows))


def _missing(flow: Result) -> int:
    return flow.sent - flow.answered


def _sent(flows: Iterable[Result]) -> int:
    return sum(flow.sent for flow in flows)


def compareLoss(flows: Flows, alive: Flows, dead: Flows) -> LossGroups:
    """
    Compare the loss of flows.

    @param alive: Those with a right reply in time.

    @param dead: Those without, fewer than all.
    """
    if not _differ(flows):
        needed = _neededForSilence(alive, len(dead)) if dead else _neededForLoss(flows)
        return LossGroups(doubtful=dead, needed=needed)
    lossy = _split(alive) if not dead or _differ(alive) else ()
    doubtful: Flows = ()
    if dead and _silence(dead, lossy or alive) >= LEVEL:
        # Flows with much loss can be without an answer, too.
        lossy = _split(flows)
        dead, doubtful = (), without(dead, lossy)
    unclear, needed = _findUnclear(lossy, without(flows, lossy, dead))
    return LossGroups(dead, doubtful, lossy, unclear, needed)


def _counts(flows: Iterable[Result]) -> list[tuple[int, int]]:
    return [(flow.sent, flow.sent - flow.answered) for flow in flows]


def _differ(flows: Flows) -> bool:
    """
    Return C{True} if the loss of flows differs beyond chance.
    """
    return differenceByChance(_counts(flows)) < LEVEL


def _split(flows: Flows) -> Flows:
    """
    Return the flows that lose most.
    """
    ordered = sorted(flows, key=lambda flow: -_missing(flow) / flow.sent)
    most = ordered[: mostLikelySplit(_counts(ordered))]
    return tuple(sorted(most, key=lambda flow: flow.sourcePort or 0))


def _findUnclear(lossy: Flows, others: Flows) -> tuple[Flows, int | None]:
    """
    Return the flows that may be lossy or not, and the number of probes per flow with
    which there would be none.
    """
    if not lossy or not others:
        return (), None
    high, low = (
        (missing(flows) + 0.5) / (_sent(flows) + 1) for flows in (lossy, others)
    )
    prior = log(len(lossy) / len(others))
    perLoss, perAnswer = log(high / low), log((1 - low) / (1 - high))
    leastOdds = log(_LEAST_ODDS * (len(lossy) + len(others)))

    def isUnclear(flow: Result) -> bool:
        odds = prior + _missing(flow) * perLoss - flow.answered * perAnswer
        return abs(odds) < leastOdds

    unclear = tuple(filter(isUnclear, (*lossy, *others)))
    if not unclear:
        return (), None
    # The share that is as likely with either, and how unlikely that is (Chernoff).
    share = perAnswer / (perLoss + perAnswer)
    information = share * log(share / high) + (1 - share) * log(
        (1 - share) / (1 - high)
    )
    return unclear, _more(ceil(leastOdds / information), (*lossy, *others))


def _more(needed: int, flows: Flows) -> int | None:
    """
    Return a number of probes per flow, or C{None} if there are as many or if they are
    too many.
    """
    sent = min(flow.sent for flow in flows)
    return needed if sent < needed <= _MAX_NEEDED else None


def _silence(dead: Flows, others: Flows) -> float:
    """
    Return the probability that flows have no answer by chance.
    """
    size = min(flow.sent for flow in dead)
    return silenceByChance(len(dead), size, len(others), _sent(others), missing(others))


def _neededForSilence(alive: Flows, dead: int) -> int | None:
    """
    Return the number of probes per flow with which a flow without an answer, beside
    others with the loss of these, is beyond chance.
    """
    share, others = missing(alive) / _sent(alive), len(alive) + dead - 1

    def isEnough(size: int) -> bool:
        lost, total = size * share, size * others
        difference = differenceByChance({(size, size): 1, (size, lost): others})
        silence = silenceByChance(1, size, others, total, share * total)
        return max(difference, silence) < LEVEL

    return _search(isEnough, alive)


def _neededForLoss(flows: Flows) -> int | None:
    """
    Return the number of probes per flow that show loss of a quarter of the flows, or
    C{None} if there are as many.
    """
    share, quarter = missing(flows) / _sent(flows), max(1, len(flows) // 4)
    if not share:
        # There would have been loss.
        return _more(ceil(log(LEVEL) / log(1 - LOSS) / quarter), flows)

    def isEnough(size: int) -> bool:
        # Half of the results have less than their mean, but with two thirds of the
        # probes hardly any.
        size = size * 2 // 3
        lossy, others = size * min(1.0, share + LOSS), size * share
        numbers = {(size, lossy): quarter, (size, others): len(flows) - quarter}
        return differenceByChance(numbers) < LEVEL

    return _search(isEnough, flows)


def _search(isEnough: Callable[[int], bool], flows: Flows) -> int | None:
    """
    Return the least number of probes per flow that is enough, or C{None} if there
    are as many.
    """
    sizes = range(min(flow.sent for flow in flows), _MAX_NEEDED + 1)
    found = bisect_left(sizes, True, key=isEnough)
    return sizes[found] if 0 < found < len(sizes) else None
