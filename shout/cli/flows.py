"""
The flows of a target as a table, and as a row of cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from shout.cli.charts import align, figuresOf
from shout.measure.result import Result

# The number of flows in a table.
_ROWS = 64

_COUNTS = ("sent", "answered", "lost", "late", "refused", "wrong")
_TIMES = ("min", "p50", "max")

# The characters of cells, for flows that lose nothing, less than half, half and more,
# and everything.
_CELLS = ".-+#"

LEGEND = "one cell per flow: . loses nothing, - less than half, + more, # everything"


class Counted(Protocol):
    """
    The counts of a flow.
    """

    @property
    def sent(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def refused(self) -> int: ...


def flowTable(flows: Sequence[Result]) -> list[str]:
    """
    Return the flows of a target, one per line.  If they are many, those with the
    highest loss are in the table.
    """
    shown = flows
    if len(flows) > _ROWS:
        worst = sorted(flows, key=lambda flow: -flow.unanswered)[:_ROWS]
        shown = sorted(worst, key=lambda flow: flow.sourcePort or 0)
    rows = [["source port", *_COUNTS, *_TIMES]]
    rows += [
        [str(flow.sourcePort), *figuresOf(flow, _COUNTS, _TIMES)] for flow in shown
    ]
    lines = [*align(rows), "round trips in ms"]
    if len(flows) > _ROWS:
        lines.append(f"{len(flows) - _ROWS} flows with no more loss are not shown")
    return lines


def cells(flows: Iterable[Counted]) -> str:
    """
    Return a character for each flow, according to its loss; see L{LEGEND}.
    """
    return "".join(map(_cell, flows))


def _cell(flow: Counted) -> str:
    missing = flow.lost + flow.refused
    if not missing:
        return _CELLS[0]
    if missing >= flow.sent:
        return _CELLS[3]
    return _CELLS[1 if 2 * missing < flow.sent else 2]


def cellLines(flows: Sequence[Counted], columns: int) -> list[str]:
    """
    Return the row of cells, in lines that fit, and its legend.
    """
    row = cells(flows)
    lines = [row[start : start + columns] for start in range(0, len(row), columns)]
    return [LEGEND, *lines]
