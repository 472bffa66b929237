"""
Results as tables and bars of text.
"""

from __future__ import annotations

from collections.abc import Sequence

from shout.cli.text import milliseconds, nameOf, percent
from shout.measure.flow import Flow
from shout.measure.histogram import Histogram
from shout.measure.result import Result
from shout.measure.target import Target

_ROWS = 12

# The number of servers in a table on a terminal.
_MOST = 64

_BAR = 40

_COUNTS = ("sent", "answered", "lost", "late", "refused", "wrong", "duplicates")
_TIMES = ("min", "mean", "p99", "max")


def table(results: Sequence[Result], columns: int | None = None) -> list[str]:
    """
    Return several results side by side, the worst first: one per line or, if that is
    too wide, one per column.

    @param columns: The width available in characters; C{None} for any.  With a width
        the best are left out if there are many.
    """
    rows = [["server", *_COUNTS, *_TIMES]]
    ordered = sorted(results, key=_badness, reverse=True)
    shown = ordered if columns is None else ordered[:_MOST]
    for result in shown:
        rtt = result.roundTrips
        counts = [str(getattr(result, name)) for name in _COUNTS]
        times = [milliseconds(getattr(rtt, name)) if rtt else "-" for name in _TIMES]
        rows.append([nameOf(result), *counts, *times])
    lines = align(rows)
    if columns is not None and len(lines[0]) > columns:
        lines = align([*zip(*rows)])
    lines.append("round trips in ms")
    if len(shown) < len(ordered):
        lines.append(f"{len(ordered) - len(shown)} servers with less loss are left out")
    return lines


def _badness(result: Result) -> tuple[float, int]:
    return result.unanswered, result.roundTrips.p50 if result.roundTrips else 0


def liveTable(targets: Sequence[Target], flows: Sequence[Flow], rows: int) -> list[str]:
    """
    Return the figures of targets during a measurement, the worst first.

    @param flows: The flows of all targets.

    @param rows: Number of targets to show.
    """
    sent, lost = [0] * len(targets), [0] * len(targets)
    last = [0] * len(targets)
    for flow in flows:
        tracker = flow.tracker
        sent[flow.target] += tracker.sent - tracker.inFlight
        lost[flow.target] += tracker.lost + tracker.refused
        last[flow.target] = tracker.histogram.last or last[flow.target]
    shares = [100 * each / of if of else 0.0 for each, of in zip(lost, sent)]
    order = sorted(range(len(targets)), key=lambda i: (-shares[i], -last[i]))
    cells = [["server", "lost", "last ms"]]
    for index in order[: max(0, rows)]:
        time = milliseconds(last[index]) if last[index] else "-"
        cells.append([str(targets[index]), percent(shares[index]), time])
    return align(cells)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """
    Return rows as lines, with the first column to the left and the others to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for first, *others in rows:
        cells = [each.rjust(width) for each, width in zip(others, widths[1:])]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return lines


def histogramLines(
    histogram: Histogram, lost: int, late: int, columns: int = 80
) -> list[str]:
    """
    Return the distribution of round trips, with rows for late and lost datagrams.

    @param lost: The number of lost datagrams.

    @param late: The number of late replies.

    @param columns: The width available in characters; labels may need more.
    """
    rows: list[tuple[str, int]] = []
    if histogram.count:
        rows = _distribute(histogram)
    rows += [(name, count) for name, count in (("late", late), ("lost", lost)) if count]
    if not rows:
        return []
    widest = max(len(label) for label, _ in rows)
    most = max(count for _, count in rows)
    digits = len(str(most))
    longest = max(1, min(_BAR, columns - widest - digits - 4))
    lines = []
    for label, count in rows:
        bar = "#" * -(-longest * count // most)
        lines.append(f"{label:>{widest}}  {count:>{digits}}  {bar}".rstrip())
    return lines


def _distribute(histogram: Histogram) -> list[tuple[str, int]]:
    """
    Return rows for round trips.  They are of equal width if the round trips are
    similar; otherwise each is wider than the one before by the same factor.
    """
    least, most = max(1, histogram.min), max(2, histogram.max + 1)
    buckets = list(histogram.buckets())
    rows = min(_ROWS, len(buckets))
    if most / least < 4:
        bounds = [least + (most - least) * i / rows for i in range(rows + 1)]
    else:
        bounds = [least * (most / least) ** (i / rows) for i in range(rows + 1)]
    counts = [0] * rows
    row = 0
    for bucket in buckets:
        while row < rows - 1 and (bucket.low + bucket.high) / 2 >= bounds[row + 1]:
            row += 1
        counts[row] += bucket.count
    ends = [milliseconds(bound) for bound in bounds]
    width = max(map(len, ends))
    return [
        (f"{ends[i]:>{width}} to {ends[i + 1]:>{width}} ms", counts[i])
        for i in range(rows)
    ]
