"""
The ways of the flows of a target: how they differ, and their hops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from shout.cli.flows import cellLines, flowTable
from shout.cli.tree import treeLines
from shout.cli.verdict import verdictLines, verdictObject
from shout.measure.hops import Hop
from shout.measure.parting import whereTheyPart
from shout.measure.result import Result
from shout.measure.session import PingSession
from shout.measure.target import Target
from shout.measure.trace import Tracer
from shout.measure.verdict import Verdict, comparisons, judge
from shout.sockets.resolve import nameOf


def trace(session: PingSession, target: Target, timeout: float, reactor: Any) -> None:
    """
    Let a measurement of one target trace its flows, too.

    @param timeout: Seconds to wait for the answer of a hop.
    """
    clock = time.monotonic_ns
    session.tracer = Tracer(session.flows, target.address, reactor, clock, timeout)


def pointerLookup(reactor: Any) -> Callable[..., Any]:
    """
    Return a function for L{nameOf} that asks the DNS servers of this system.
    """
    # It takes longer to import than most programs need without names.
    from twisted.names.client import Resolver

    resolver: Any = Resolver("/etc/resolv.conf", reactor=reactor)  # type: ignore[no-untyped-call]
    lookupPointer: Callable[..., Any] = resolver.lookupPointer
    return lookupPointer


async def withNames(result: Result, lookupPointer: Callable[..., Any]) -> Result:
    """
    Look up the names of the hops, and return the result with them.

    @param lookupPointer: As for L{nameOf}.
    """
    addresses = sorted({*_addressesOf(result.flows)})
    found = await gatherResults(
        [Deferred.fromCoroutine(nameOf(each, lookupPointer)) for each in addresses]
    )
    names = dict(zip(addresses, found))

    def named(hop: Hop) -> Hop:
        return hop._replace(name=names.get(hop.address or ""))

    flows = [
        replace(flow, hops=flow.hops and [*map(named, flow.hops)])
        for flow in result.flows
    ]
    return replace(result, flows=flows)


def _addressesOf(flows: Iterable[Result]) -> Iterable[str]:
    for flow in flows:
        for hop in flow.hops or ():
            if hop.address is not None:
                yield hop.address


def flowLines(flows: Sequence[Result], columns: int | None) -> list[str]:
    """
    Return the verdict on the flows of a target, their hops and their figures.

    @param columns: The width of the terminal; C{None} for no terminal.
    """
    lines = []
    if words := verdictWords(judge(flows)):
        lines += ["", *words]
    if tree := hopLines(flows):
        lines += ["", *tree]
    if len(flows) > 1:
        lines += ["", *flowTable(flows)]
        if columns is not None:
            lines += ["", *cellLines(flows, columns)]
    return lines


def verdictWords(verdict: Verdict) -> list[str]:
    """
    Return the verdict in sentences, and the places where hurt flows part from the
    healthy ones if they were traced.
    """
    hops = _hopsOf(verdict.flows)
    places = [
        f"{sentence[:1].upper()}{sentence[1:]}."
        for kind, hurt, healthy in comparisons(verdict)
        for sentence in whereTheyPart(hurt, healthy, hops, kind)
    ]
    return [*verdictLines(verdict), *places]


def verdictField(result: Result) -> dict[str, Any]:
    """
    Return the field with the verdict for the object of a target.
    """
    verdict = judge(result.flows)
    return {"verdict": {**verdictObject(verdict), "words": verdictWords(verdict)}}


def _hopsOf(flows: Sequence[Result]) -> dict[int, Sequence[Hop]]:
    return {flow.sourcePort or 0: flow.hops for flow in flows if flow.hops is not None}


def hopLines(flows: Sequence[Result]) -> list[str]:
    """
    Return the hops of the flows as a tree; none if they were not traced.
    """
    hops = _hopsOf(flows)
    if not hops:
        return []
    counts = {flow.sourcePort or 0: (flow.sent, flow.answered) for flow in flows}
    names = {
        hop.address: hop.name
        for path in hops.values()
        for hop in path
        if hop.address and hop.name
    }
    return treeLines(hops, counts, names)
