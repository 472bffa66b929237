"""
Results and events as text for people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter

from shout.measure.result import (
    DUPLICATE,
    LATE,
    LOST,
    OUT_OF_WINDOW,
    OUTSTANDING,
    REFUSED,
    REPLY,
    WRONG,
    Event,
    Result,
)
from shout.measure.schedule import Schedule
from shout.measure.target import Target
from shout.measure.tracker import ProbeTracker

# The number of source ports to name, and of kinds of ICMP errors.
_PORTS = 8
_ERRORS = 8

_NOTES = {DUPLICATE: "duplicate", LATE: "late", OUT_OF_WINDOW: "late or duplicate"}

_getTimes = attrgetter("min", "mean", "p50", "p90", "p99", "max", "stddev")


def milliseconds(nanoseconds: float) -> str:
    """
    Return a time in milliseconds, with three or four significant digits.
    """
    value = nanoseconds / 1e6
    digits = 3 if value < 10 else 2 if value < 100 else 1 if value < 1000 else 0
    return f"{value:.{digits}f}"


def percent(value: float) -> str:
    """
    Return a percentage, rounded, but never to 0 or 100 if it is neither.
    """
    if 0 < value < 0.01:
        return "less than 0.01 %"
    if 99.9 < value < 100:
        return "more than 99.9 %"
    return f"{value:.{2 if value < 1 else 1}f}".rstrip("0").rstrip(".") + " %"


def pace(rate: float) -> str:
    """
    Return a rate per second, with at least three significant digits.
    """
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def nameOf(result: Result) -> str:
    """
    Return the target of a result.
    """
    return str(Target(result.host, result.address, result.port))


def errorText(reason: str, sender: str | None) -> str:
    """
    Return an ICMP error, or an error of this system, with its sender.
    """
    return reason if sender is None else f"from {sender}: {reason}"


def errorsInWords(errors: Mapping[tuple[str, str | None], int]) -> str:
    """
    Return the numbers of ICMP errors, by reason and sender, of which only the most
    frequent are named if they are many.
    """
    counts = Counter({errorText(*key): count for key, count in errors.items()})
    named = counts.most_common(_ERRORS)
    more = len(counts) - len(named)
    return inWords(dict(named)) + (f" and {more} more kinds" if more else "")


def inWords(counts: Mapping[str, int]) -> str:
    """
    Return counts with their names; a single name stands without its count.
    """
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def openingLine(
    target: Target | str, schedule: Schedule, hasKernelTimes: bool | None = None
) -> str:
    """
    Return the line before the first reply.
    """
    interval = schedule.interval
    isSlow = interval >= 0.01
    often = f"every {interval:g} s" if isSlow else f"{1 / interval:,.0f} per s"
    if schedule.isAdaptive:
        often = f"after each reply, or {often}"
    return (
        f"SHOUT {target}: {schedule.size} bytes, {often}, "
        f"late after {schedule.timeout:g} s"
        + ("" if hasKernelTimes is None else f", times by {_clock(hasKernelTimes)}")
    )


def _clock(hasKernelTimes: bool) -> str:
    return "the kernel" if hasKernelTimes else "this program's monotonic clock"


def eventLine(event: Event, target: Target) -> str:
    """
    Return the line about an event.
    """
    where = target.address
    number = "" if event.number is None else f" seq={event.number}"
    if event.kind == LOST:
        return f"no answer from {where}:{number}"
    if event.kind == OUTSTANDING:
        return f"no answer yet from {where}:{number}"
    if event.kind == REFUSED:
        sender = event.error and event.error.sender
        return f"ICMP error for {where}:{number} {errorText(event.detail, sender)}"
    reply = f"{event.length} bytes from {where}:{number}"
    if event.header.ttl is not None:
        reply += f" ttl={event.header.ttl}"
    if event.roundTrip is not None:
        reply += f" time={milliseconds(event.roundTrip)} ms"
    if event.isOutOfOrder:
        reply += " (out of order)"
    if event.kind == REPLY:
        return reply
    if event.kind == WRONG:
        return f"{reply} wrong: {event.detail}"
    return f"{reply} ({_NOTES[event.kind]})"


def leftOutLine(count: int) -> str:
    """
    Return the line in place of others that were read too slowly.
    """
    return f"({count} lines left out)"


def statusLine(trackers: Sequence[ProbeTracker]) -> str:
    """
    Return a short summary of the results so far.
    """
    sent = sum(tracker.sent for tracker in trackers)
    lost = sum(tracker.lost for tracker in trackers)
    text = f"{sent} sent, {percent(100 * lost / sent if sent else 0)} lost"
    if len(trackers) == 1 and trackers[0].histogram.count:
        histogram = trackers[0].histogram
        text += f", last {milliseconds(histogram.last)} ms"
        text += f", mean {milliseconds(histogram.mean)} ms"
    return text


def summary(result: Result) -> list[str]:
    """
    Return the lines at the end of a measurement.
    """
    refused, wrong = f"{result.refused} refused", f"{result.wrong} wrong"
    if result.icmpErrors:
        refused += f" ({errorsInWords(result.icmpErrors)})"
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
    if result.roundTrips is not None:
        times = "/".join(map(milliseconds, _getTimes(result.roundTrips)))
        lines.append(f"round trip min/mean/p50/p90/p99/max/stddev = {times} ms")
        jitter = ""
        if result.jitter is not None:
            jitter = f"jitter {milliseconds(result.jitter)} ms, "
        lines.append(f"{jitter}times by {_clock(result.hasKernelTimes)}")
    if result.elsewhere:
        where = ", ".join(f"{count} from {x}" for x, count in result.elsewhere.items())
        lines.append(f"replies from elsewhere, not from the target: {where}")
    if result.skipped:
        lines.append(
            f"sent {pace(result.rate)} per s, {result.skipped} datagrams skipped: "
            "this machine was too slow, or too many were in flight"
        )
    if result.kernelDrops:
        lines.append(
            f"{result.kernelDrops} replies dropped by the kernel of this machine: "
            "receive buffer full; measure at a lower rate"
        )
    if result.inFlightAtEnd:
        lines.append(f"{result.inFlightAtEnd} in flight at the end, not counted")
    return lines


def portsInWords(ports: Sequence[int]) -> str:
    """
    Return a list of source ports, of which only the first are named if they are many.
    """
    named = ", ".join(map(str, ports[:_PORTS]))
    more = len(ports) - _PORTS
    noun = "source port" if len(ports) == 1 else "source ports"
    return f"{noun} {named}" + (f" and {more} more" if more > 0 else "")
