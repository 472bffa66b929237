"""
Measurements as people and programs read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shout.measure.histogram import RoundTrips
from shout.measure.result import (
    DUPLICATE,
    LATE,
    LOST,
    OUT_OF_WINDOW,
    REFUSED,
    REPLY,
    WRONG,
    Event,
    Result,
)
from shout.measure.target import Target
from shout.measure.tracker import ProbeTracker


def milliseconds(nanoseconds: float) -> str:
    """
    Return a time in milliseconds, with as many digits as make sense.
    """
    value = nanoseconds / 1e6
    digits = 3 if value < 10 else 2 if value < 100 else 1 if value < 1000 else 0
    return f"{value:.{digits}f}"


def percent(value: float) -> str:
    """
    Return a percentage, with as many digits as make sense: all is not said to
    be well, or lost, when it is not.
    """
    if 0 < value < 0.01:
        return "less than 0.01 %"
    if 99.9 < value < 100:
        return "more than 99.9 %"
    return f"{value:.{2 if value < 1 else 1}f}".rstrip("0").rstrip(".") + " %"


def opening(
    target: Target, size: int, interval: float, timeout: float, hasKernelTimes: bool
) -> str:
    """
    Return the line before the first reply.
    """
    isSlow = interval >= 0.01
    often = f"every {interval:g} s" if isSlow else f"{1 / interval:,.0f} per s"
    return (
        f"SHOUT {target}: {size} bytes, {often}, late after {timeout:g} s, "
        f"times by {_clock(hasKernelTimes)}"
    )


def _clock(hasKernelTimes: bool) -> str:
    return "the kernel" if hasKernelTimes else "this program's monotonic clock"


def eventLine(event: Event, target: Target) -> str:
    """
    Return the line about an event.

    @param target: where it happened.
    """
    where = target.address
    number = "" if event.number is None else f" seq={event.number}"
    time = ""
    if event.roundTrip is not None:
        time = f" time={milliseconds(event.roundTrip)} ms"
    reply = f"{event.length} bytes from {where}:{number}{time}"
    if event.isOutOfOrder:
        reply += " (out of order)"
    if event.kind == REPLY:
        return reply
    if event.kind == DUPLICATE:
        return f"{reply} (duplicate)"
    if event.kind == LATE:
        return f"{reply} (late)"
    if event.kind == OUT_OF_WINDOW:
        return f"{reply} (late or duplicate)"
    if event.kind == WRONG:
        return f"{reply} wrong: {event.detail}"
    if event.kind == REFUSED:
        return f"refused on the way to {where}:{number} {event.detail}"
    assert event.kind == LOST
    return f"no answer from {where}:{number}"


def leftOutLine(count: int) -> str:
    """
    Return the line in the place of others that nobody reads in time.
    """
    return f"({count} lines left out)"


def liveLine(tallies: Sequence[ProbeTracker]) -> str:
    """
    Return the figures so far, in a few words.
    """
    sent = sum(tracker.sent for tracker in tallies)
    lost = sum(tracker.lost for tracker in tallies)
    text = f"{sent} sent, {percent(100 * lost / sent if sent else 0)} lost"
    if len(tallies) == 1 and tallies[0].histogram.count:
        histogram = tallies[0].histogram
        text += f", last {milliseconds(histogram.last)} ms"
        text += f", mean {milliseconds(histogram.mean)} ms"
    return text


def summary(result: Result) -> list[str]:
    """
    Return the lines at the end of a measurement.
    """
    refused, wrong = f"{result.refused} refused", f"{result.wrong} wrong"
    if result.icmpErrors:
        refused += f" ({inWords(result.icmpErrors)})"
    if result.kinds:
        wrong += f" ({inWords(result.kinds)})"
    lines = [
        f"--- {nameOf(result)} ---",
        f"{result.sent} sent, {result.answered} answered, "
        f"{result.lost} lost ({percent(result.loss)}), {result.late} late, "
        f"{refused}, {wrong}",
        f"{result.duplicates} duplicates, {result.outOfOrder} out of order"
        + (f", {result.outOfWindow} late or duplicate" if result.outOfWindow else ""),
    ]
    histogram = result.roundTrips
    if histogram is not None:
        times = "/".join(map(milliseconds, _values(histogram)))
        lines.append(f"round trip min/mean/p50/p90/p99/max/stddev = {times} ms")
        jitter = ""
        if result.jitter is not None:
            jitter = f"jitter {milliseconds(result.jitter)} ms, "
        lines.append(f"{jitter}times by {_clock(result.hasKernelTimes)}")
    if result.skipped:
        lines.append(
            f"sent {pace(result.rate)} per s, {result.skipped} fewer than were due: "
            "this machine, or what was on its way, did not allow more"
        )
    if result.kernelDrops:
        lines.append(
            f"this machine had no room for {result.kernelDrops} datagrams that came "
            "back, perhaps some of the lost: measure at a lower rate"
        )
    if result.inFlightAtEnd:
        lines.append(f"{result.inFlightAtEnd} still on the way, not counted")
    return lines


def pace(rate: float) -> str:
    """
    Return a rate per second, with as many digits as make sense.
    """
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def nameOf(result: Result) -> str:
    """
    Return what was measured.
    """
    return str(Target(result.host, result.address, result.port))


def inWords(counts: Mapping[str, int]) -> str:
    """
    Return how many there are of what, without the number where all are the same.
    """
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _values(histogram: RoundTrips) -> tuple[int, ...]:
    return (
        histogram.min,
        histogram.mean,
        histogram.p50,
        histogram.p90,
        histogram.p99,
        histogram.max,
        histogram.stddev,
    )
