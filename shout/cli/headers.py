"""
The IP headers of replies in words: the TTL or hop limit, and the type of service or
traffic class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from shout.cli.text import portsInWords
from shout.cli.tos import dscpInWords, dscpOf, ecnInWords, ecnOf
from shout.measure.result import Event, Result, mostFrequent
from shout.measure.target import Target


class TTLNotes:
    """
    Notes about replies that arrive with another TTL than the one before.
    """

    def __init__(self) -> None:
        # By the index of the target and the source port: the paths of flows can differ.
        self._last: dict[tuple[int, int | None], int] = {}

    def note(self, event: Event, target: Target, index: int) -> str:
        """
        Return a note to add to the line about an event, or an empty string.

        @param index: The index of the target.
        """
        ttl = event.header.ttl
        if ttl is None:
            return ""
        flow = index, event.sourcePort
        before = self._last.get(flow, ttl)
        self._last[flow] = ttl
        return "" if ttl == before else f" ({nameOfTTL(target.isIPv6)} was {before})"


def ttlLines(result: Result) -> list[str]:
    """
    Return a line if replies arrived with different TTLs.
    """
    counts = _countBy(result.ttls, lambda ttl: ttl)
    if len(counts) < 2:
        return []
    most = mostFrequent(result.ttls)
    *first, last = [
        f"{ttl} ({count}{_portsOf(result.flows, ttl, most)})"
        for ttl, count in counts.most_common()
    ]
    name = nameOfTTL(":" in result.address)
    return [f"replies arrived with {name} {', '.join(first)} and {last}"]


def _portsOf(flows: Sequence[Result], ttl: int, most: int | None) -> str:
    ports = [each.sourcePort for each in flows if each.sourcePort and each.ttl == ttl]
    return "" if ttl == most or not ports else f": {portsInWords(ports)}"


def tosLines(result: Result, sent: int) -> list[str]:
    """
    Return the lines about replies with another DSCP, or other bits of ECN, than the
    probes.

    @param sent: The type of service of the probes.
    """
    return [
        *_differences(result, sent, dscpOf, dscpInWords, "DSCP"),
        # Servers do not copy ECN, so it says nothing if the replies lack it.
        *_differences(result, sent, ecnOf, ecnInWords, "ECN", ignored={0}),
    ]


def _differences(
    result: Result,
    sent: int,
    part: Callable[[int], int],
    inWords: Callable[[int], str],
    name: str,
    ignored: Collection[int] = (),
) -> list[str]:
    counts = _countBy(result.toses, part)
    total = counts.total()
    lines = []
    for value, count in counts.most_common():
        if value == part(sent) or value in ignored:
            continue
        who = "the replies" if count == total else f"{count} of {total} replies"
        line = f"{who} came with {name} {inWords(value)} instead of "
        line += inWords(part(sent))
        if count < total and len(result.flows) > 1:
            ports = [
                flow.sourcePort
                for flow in result.flows
                if flow.sourcePort and _most(flow.toses, part) == value
            ]
            line += f" ({portsInWords(ports)})" if ports else ""
        lines.append(line)
    return lines


def _most(counts: Mapping[int | None, int], part: Callable[[int], int]) -> int | None:
    tops = _countBy(counts, part).most_common(1)
    return tops[0][0] if tops else None


def _countBy(
    counts: Mapping[int | None, int], part: Callable[[int], int]
) -> Counter[int]:
    """
    Add up the counts of values of which a part is equal; those that are unknown are
    left out.
    """
    totals: Counter[int] = Counter()
    for value, count in counts.items():
        if value is not None:
            totals[part(value)] += count
    return totals


def nameOfTTL(isIPv6: bool) -> str:
    """
    Return the name of the field that each router decrements.
    """
    return "hop limit" if isIPv6 else "TTL"
