"""
Results as tables and bars of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from shout.cli.text import milliseconds, nameOf, percent
from shout.measure.flow import Flow
from shout.measure.histogram import Histogram
from shout.measure.result import Result
from shout.measure.target import Target

_ROWS = 12

# The number of servers in a table on a terminal of unknown height.
_MOST = 64

_BAR = 40

_COUNTS = ("sent", "answered", "lost", "late", "refused", "wrong", "duplicates")
_TIMES = ("min", "mean", "p99", "max")

# The times that a narrow table leaves out, the first one last.  The order is by mean.
_DISPENSABLE = ("p99", "max", "min")


def table(
    results: Sequence[Result], columns: int | None = None, most: int = _MOST
) -> list[str]:
    """
    Return several results side by side, the worst first: one per line or, if that is
    too wide, one per column.

    @param columns: The width available in characters; C{None} for any.  With a width
        the best are left out if there are many, and so are figures for which there is
        no room.

    @param most: The number of results from which on the best are left out.
    """
    rows = [["server", *_COUNTS, *_TIMES]]
    ordered = sorted(results, key=_badness, reverse=True)
    shown = ordered if columns is None else ordered[:most]
    rows += [[nameOf(result), *figuresOf(result, _COUNTS, _TIMES)] for result in shown]
    lines = align(rows)
    if columns is not None and len(lines[0]) > columns:
        turned = align([*zip(*rows)])
        isNarrow = len(turned[0]) <= columns
        lines = turned if isNarrow else _narrow(rows, columns)
    lines.append("round trips in ms")
    left = len(ordered) - len(shown)
    if left:
        lines.append(f"{left:,} other servers, none of them worse, are left out")
    return lines


def _narrow(rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """
    Return rows as lines without the figures that are dispensable, as far as there is no
    room for them: counts that are all 0, and some times.
    """
    figures = [*zip(*rows)]
    named = {each[0]: each for each in figures}
    dispensable = [named[name] for name in _DISPENSABLE]
    dispensable += [each for each in figures if set(each[1:]) == {"0"}]
    lines = align(rows)
    while dispensable and len(lines[0]) > columns:
        figures.remove(dispensable.pop())
        lines = align([*zip(*figures)])
    return lines


def _badness(result: Result) -> tuple[float, int]:
    return result.unanswered, result.roundTrips.mean if result.roundTrips else 0


def liveTable(targets: Sequence[Target], flows: Sequence[Flow], rows: int) -> list[str]:
    """
    Return the figures of targets during a measurement, the worst first, and a line
    about all of them.

    @param flows: The flows of all targets.

    @param rows: Number of targets to show.
    """
    # A probe in flight may still be answered.
    sent, answered, total = ([0] * len(targets) for _ in range(3))
    for flow in flows:
        tracker = flow.tracker
        sent[flow.target] += tracker.sent - tracker.inFlight
        answered[flow.target] += tracker.answered
        total[flow.target] += tracker.histogram.total
    shares = [(of - part) / of if of else 0.0 for part, of in zip(answered, sent)]
    means = [time / count if count else 0.0 for time, count in zip(total, answered)]
    places = range(len(targets))
    worst = nsmallest(rows, places, key=lambda i: (-shares[i], -means[i]))
    cells = [["server", "unanswered", "mean ms"]]
    for i in worst:
        mean = milliseconds(means[i]) if answered[i] else "-"
        cells.append([str(targets[i]), percent(100 * shares[i]), mean])
    silent = sum(share == 1 for share in shares)
    share = (sum(sent) - sum(answered)) / sum(sent) if any(sent) else 0.0
    return [
        *align(cells),
        f"{sum(sent):,} sent, {percent(100 * share)} unanswered, "
        f"{silent:,} of {len(targets):,} servers without any answer",
    ]


def figuresOf(result: Result, counts: Sequence[str], times: Sequence[str]) -> list[str]:
    """
    Return the figures of a result for a row of a table.

    @param counts: Names of attributes of the result.

    @param times: Names of attributes of its round trips.
    """
    trips = result.roundTrips
    return [
        *(str(getattr(result, name)) for name in counts),
        *(milliseconds(getattr(trips, name)) if trips else "-" for name in times),
    ]


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
