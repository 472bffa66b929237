"""
The hops of flows as a tree of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from shout.cli.charts import align
from shout.cli.text import milliseconds, percent
from shout.measure.hops import FlowHops, Row, merge

FlowCounts = Mapping[int, tuple[int, int]]
"""
The numbers of probes sent and answered, by source port.
"""

_NO_NAMES: Mapping[str, str] = MappingProxyType({})


def treeLines(
    hops: FlowHops,
    counts: FlowCounts | None = None,
    names: Mapping[str, str] = _NO_NAMES,
) -> list[str]:
    """
    Return the hops of all flows.  A hop that all flows share has one line, and parallel
    hops are branches below each other.  Of a hop that is inferred for some flows, the
    number of those asked is said::

        hop  address        flows    lost     ms
          1  10.77.0.1         16    50 %  0.041  12 of 16 asked
          2  |- 10.77.11.2      8     0 %  0.055
             `- 10.77.12.2      8   100 %  0.057
          3  |- 10.77.3.2       8     0 %  0.074  application answered
             `- *               8   100 %      -

    @param counts: The probes of each flow, for the loss; C{None} for no such column.

    @param names: The names of addresses.
    """
    rows = merge(hops)
    # One line is enough for silence up to the end.
    last = max((row.ttl for row in rows if row.address), default=0)
    rows = [row for row in rows if row.ttl <= last + 1]
    cells = [["hop  address", "flows", "lost", "ms"]]
    notes = [""]
    for index, row in enumerate(rows):
        level = [each for each in rows if each.ttl == row.ttl]
        before = [each for each in rows if each.ttl == row.ttl - 1]
        hop = "" if index and rows[index - 1].ttl == row.ttl else str(row.ttl)
        branch = "" if len(level) == 1 else "`- " if row is level[-1] else "|- "
        address = _addressWords(row.address, names)
        first = f"{hop:>3}  {branch}{address}"
        cells.append([first, str(len(row.hops)), _loss(row, counts), _time(row)])
        notes.append("; ".join(_notes(row, level, before)))
    if counts is None:
        cells = [[*each[:2], each[3]] for each in cells]
    if len(hops) == 1:
        cells = [[each[0], *each[2:]] for each in cells]
    return [f"{line}  {note}".rstrip() for line, note in zip(align(cells), notes)]


def _addressWords(address: str | None, names: Mapping[str, str]) -> str:
    if address is None:
        return "*"
    return f"{names[address]} ({address})" if address in names else address


def _loss(row: Row, counts: FlowCounts | None) -> str:
    known = [counts[port] for port in row.hops if port in counts] if counts else []
    sent = sum(sent for sent, _ in known)
    answered = sum(answered for _, answered in known)
    return percent(100 * (sent - answered) / sent) if sent else "-"


def _time(row: Row) -> str:
    """
    Return the shortest round trip.
    """
    times = [hop.roundTrip for hop in row.hops.values() if hop.roundTrip is not None]
    return milliseconds(min(times)) if times else "-"


def _notes(row: Row, level: Sequence[Row], before: Sequence[Row]) -> list[str]:
    """
    Return notes on a row.

    @param level: All rows of its TTL.

    @param before: The rows of the TTL before.
    """
    if row.address is None:
        return []
    hops = row.hops.values()
    notes = sorted({hop.reason for hop in hops if hop.reason})
    if any(hop.isTarget for hop in hops):
        notes.append("application answered")
    answered = sum(hop.roundTrip is not None for hop in hops)
    if row.silent:
        notes.append(f"answered {len(hops)} of {len(hops) + row.silent} flows")
    if answered < len(hops):
        notes.append(f"{answered} of {len(hops)} asked")
    parents = [each.address for each in before if each.hops.keys() & row.hops.keys()]
    isParallel = sum(each.address is not None for each in before) > 1
    if isParallel and len(level) > 1 and len(parents) == 1 and parents[0]:
        notes.append(f"after {parents[0]}")
    return notes
