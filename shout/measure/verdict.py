"""
The differences between the flows of a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shout.measure.lossy import Flows, compareLoss
from shout.measure.result import Result
from shout.measure.slow import compareTimes


@dataclass(frozen=True)
class Verdict:
    """
    The flows of a target by what they have in common.

    Loss is any probe without the right reply in time.  A flow is in at most one of
    C{dead}, C{doubtful} and C{lossy}; it may also be in C{slow}.

    @ivar flows: The flows that sent probes, by source port.

    @ivar unsent: The flows that sent none.

    @ivar dead: The flows without a right reply in time, beyond chance; or all flows.

    @ivar doubtful: The flows without a right reply in time if that may be chance.

    @ivar lossy: The flows that lose more than the others, beyond chance.

    @ivar unclear: The flows that have a loss between those of the lossy flows and the
        others, so that either is possible.

    @ivar needed: Number of probes per flow that would show a difference in loss, or
        which flows are lossy; C{None} if there were enough.

    @ivar slow: The flows with the longer round trips, if there are two groups clearly
        apart.

    @ivar hasUnevenTimes: C{True} if round trips differ between flows beyond chance, but
        not in two groups.

    @ivar ttls: The flows by the TTL or hop limit of most replies; empty if there is
        only one.

    @ivar dscps: The flows by the DSCP of most replies; empty if there is only one.
    """

    flows: Flows
    unsent: Flows = ()
    dead: Flows = ()
    doubtful: Flows = ()
    lossy: Flows = ()
    unclear: Flows = ()
    needed: int | None = None
    slow: Flows = ()
    hasUnevenTimes: bool = False
    ttls: Mapping[int, Flows] = field(default_factory=dict)
    dscps: Mapping[int, Flows] = field(default_factory=dict)

    @property
    def isSilent(self) -> bool:
        """
        C{True} if no flow has a right reply in time.
        """
        return len(self.dead) == len(self.flows)

    @property
    def isAlike(self) -> bool:
        """
        C{True} if neither loss nor round trips differ beyond chance.
        """
        return not (self.dead or self.lossy or self.slow or self.hasUnevenTimes)


class Comparison(NamedTuple):
    """
    Two groups of flows whose ways can be compared, by their source ports.

    @ivar kind: The words after "flows" for the hurt ones.
    """

    kind: str
    hurt: frozenset[int]
    healthy: frozenset[int]


def comparisons(verdict: Verdict) -> list[Comparison]:
    """
    Return the groups of hurt flows, each with the healthy ones.  Flows of which it is
    not clear if they are hurt are in neither.
    """
    unclear = {*_ports(verdict.unclear), *_ports(verdict.doubtful)}
    lossy = _ports(verdict.lossy) - unclear
    dead, slow = _ports(verdict.dead), _ports(verdict.slow)
    healthy = _ports(verdict.flows) - unclear - lossy - dead - slow
    groups = {
        "without an answer": dead,
        "with loss": lossy,
        "with longer round trips": slow,
    }
    return [
        Comparison(kind, hurt, healthy)
        for kind, hurt in groups.items()
        if hurt and healthy
    ]


def _ports(flows: Sequence[Result]) -> frozenset[int]:
    return frozenset(flow.sourcePort or 0 for flow in flows)


def judge(flows: Sequence[Result]) -> Verdict:
    """
    Compare the flows of a target, which have different source ports.
    """
    ordered = sorted(flows, key=lambda flow: flow.sourcePort or 0)
    sent = tuple(flow for flow in ordered if flow.sent)
    unsent = tuple(flow for flow in ordered if not flow.sent)
    alive = tuple(flow for flow in sent if flow.answered)
    dead = tuple(flow for flow in sent if not flow.answered)
    if not alive:
        return Verdict(sent, unsent, dead)
    slow, hasUnevenTimes = compareTimes(alive)
    return Verdict(
        sent,
        unsent,
        *compareLoss(sent, alive, dead),
        slow,
        hasUnevenTimes,
        _groupBy(alive, lambda flow: flow.ttl),
        _groupBy(alive, lambda flow: None if flow.tos is None else flow.tos >> 2),
    )


def _groupBy(flows: Flows, key: Callable[[Result], int | None]) -> Mapping[int, Flows]:
    """
    Return the flows by a value, or an empty mapping if they all have the same.  Flows
    without a value are left out.
    """
    groups: dict[int, list[Result]] = {}
    for flow in flows:
        if (value := key(flow)) is not None:
            groups.setdefault(value, []).append(flow)
    if len(groups) < 2:
        return {}
    return {value: tuple(groups[value]) for value in sorted(groups)}
