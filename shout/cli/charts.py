"""
Measurements as tables and bars of text.
"""

from __future__ import annotations

from collections.abc import Sequence

from shout.cli.text import milliseconds, nameOf
from shout.measure.histogram import Histogram
from shout.measure.result import Result

_ROWS = 12
_BAR = 40

_COLUMNS = "server sent answered lost late refused wrong duplicates min mean p99 max"


def table(results: Sequence[Result], columns: int | None = None) -> list[str]:
    """
    Return the figures of several measurements side by side: each in a line, or,
    where that is too wide, each in a column.

    @param columns: how wide it may be; L{None} for any width.
    """
    rows = [_COLUMNS.split()]
    for result in results:
        histogram = result.roundTrips
        times = ["-"] * 4
        if histogram is not None:
            wanted = (histogram.min, histogram.mean, histogram.p99, histogram.max)
            times = [milliseconds(each) for each in wanted]
        counts = (result.sent, result.answered, result.lost, result.late)
        others = (result.refused, result.wrong, result.duplicates)
        rows.append([nameOf(result), *map(str, counts + others), *times])
    lines = _aligned(rows)
    if columns is not None and len(lines[0]) > columns:
        lines = _aligned([*zip(*rows)])
    return [*lines, "round trips in ms"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
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
    Return how round trips are distributed, with what never came.

    @param lost: how many were lost.

    @param late: how many came too late.

    @param columns: how wide it may be, if it can be made to fit.
    """
    rows: list[tuple[str, int]] = []
    if histogram.count:
        rows = _spread(histogram)
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


def _spread(histogram: Histogram) -> list[tuple[str, int]]:
    """
    Return rows for round trips: of equal width when all are alike, and each
    wider than the one before by the same factor when they are not.
    """
    least, most = max(1, histogram.min), max(2, histogram.max + 1)
    buckets = list(histogram.buckets())
    count = min(_ROWS, len(buckets))
    if most / least < 4:
        bounds = [least + (most - least) * i / count for i in range(count + 1)]
    else:
        bounds = [least * (most / least) ** (i / count) for i in range(count + 1)]
    counts = [0] * count
    row = 0
    for bucket in buckets:
        while row < count - 1 and (bucket.low + bucket.high) / 2 >= bounds[row + 1]:
            row += 1
        counts[row] += bucket.count
    ends = [milliseconds(bound) for bound in bounds]
    width = max(map(len, ends))
    return [
        (f"{ends[i]:>{width}} to {ends[i + 1]:>{width}} ms", counts[i])
        for i in range(count)
    ]
