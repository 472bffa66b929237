"""
Results and events as text for people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from shout.measure.mtu import MTUResult
from shout.measure.rate import CEILING, LOSS, MACHINE, STOPPED, RateResult, Step
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
from shout.measure.search import SearchRunner
from shout.measure.target import Target
from shout.measure.tracker import ProbeTracker

_BAR = 40

# The number of source ports to name.
_PORTS = 8

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
    Return the numbers of ICMP errors, by reason and sender.
    """
    return inWords({errorText(*key): count for key, count in errors.items()})


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


def nothingLine(runners: Sequence[SearchRunner]) -> str:
    """
    Return the line about a target from which no right reply arrived.
    """
    kinds = sum((runner.kinds for runner in runners), Counter[str]())
    errors = sum((runner.icmpErrors for runner in runners), Counter[Any]())
    if kinds:
        return f"only wrong replies came back: {inWords(kinds)}"
    if errors:
        return f"nothing came back: {errorsInWords(errors)}"
    return "nothing came back"


def rateLine(step: Step) -> str:
    """
    Return the line about a step of the search for a rate.
    """
    result = step.result
    text = f"{step.rate:>11,.0f} per s: {result.sent} sent, "
    text += f"{percent(result.unanswered)} not answered"
    if result.roundTrips is not None:
        text += f", p50 {milliseconds(result.roundTrips.p50)} ms"
    return text if step.isSent else f"{text}, {_managed(step)}"


def _managed(step: Step) -> str:
    return f"this machine managed {pace(step.result.rate)} per s"


def rateLines(result: RateResult, nothing: str) -> list[str]:
    """
    Return the loss at each rate, and the highest rate without loss.

    @param nothing: The line for a target that did not answer.
    """
    lines = ["", "not answered, by rate:"] if result.steps else []
    for step in sorted(result.steps, key=lambda step: step.rate):
        share = step.result.unanswered
        bar = "#" * -(-_BAR * round(share * 100) // 10000)
        note = "" if step.isSent else _managed(step)
        parts = (f"{step.rate:>11,.0f} per s {percent(share):>17}", bar, note)
        lines.append(" ".join(filter(None, parts)))
    reasons = {
        LOSS: "above that, datagrams get lost",
        MACHINE: "above that, this machine cannot send and receive evenly",
        CEILING: "no higher rate was tried; off the loopback --flood allows more",
        STOPPED: "stopped before a higher one was tried",
    }
    if not result.isSudden:
        reasons[LOSS] = (
            "above that some get lost, but hardly more at higher rates: "
            "the rate may not be the cause"
        )
    lines.append("")
    if result.best:
        reason = reasons[result.limit]
        lines.append(f"highest rate without loss: {result.best:,.0f} per s ({reason})")
    elif result.limit == STOPPED:
        lines.append("stopped before any rate was known to be without loss")
    elif any(step.result.answered for step in result.steps):
        lines.append("no rate was without loss")
    else:
        lines.append(nothing)
    return lines


def sizeLine(
    size: int, mayFragment: bool, isBack: bool, sourcePort: int | None = None
) -> str:
    """
    Return the line about a step of the search for a size.

    @param mayFragment: C{True} if the datagram may be fragmented.

    @param isBack: C{True} if it came back.

    @param sourcePort: The port of the flow, if there are several.
    """
    how = "" if mayFragment else " unfragmented"
    flow = "" if sourcePort is None else f" from port {sourcePort}"
    outcome = "came back" if isBack else "did not come back"
    return f"{size:>7} bytes{how}{flow}: {outcome}"


def mtuLines(result: MTUResult, nothing: str) -> list[str]:
    """
    Return the largest datagrams, and the path MTU.

    @param nothing: The line for a target that did not answer.
    """
    if result.whole is None:
        return ["", f"{nothing}, of any size"]
    most = ", the maximum" if result.whole == result.largest else ""
    lines = ["", f"largest that comes back whole: {result.whole} bytes{most}"]
    if result.unfragmented is not None:
        atLeast = "at least " if result.isAtLeast else ""
        lines += [
            f"largest that comes back unfragmented: {result.unfragmented} bytes",
            f"path MTU: {atLeast}{result.pathMTU} bytes "
            f"({result.headers} of them headers)",
        ]
    elif result.headers:
        lines.append("nothing comes back unfragmented, or this system cannot test it")
    return lines


def mtuFlowLines(flows: Sequence[tuple[int | None, MTUResult]]) -> list[str]:
    """
    Return the flows by their path MTU.

    @param flows: The source port and the result of each flow.
    """
    ports: dict[int | None, list[int]] = {}
    for port, result in flows:
        if port is not None:
            ports.setdefault(result.pathMTU, []).append(port)
    lines = []
    for mtu in sorted(ports, key=lambda mtu: mtu or 0):
        size = "unknown" if mtu is None else f"{mtu} bytes"
        which = f"{len(ports[mtu])} of {len(flows)} flows"
        lines.append(f"path MTU {size}: {which} ({portsInWords(ports[mtu])})")
    known = [mtu for mtu in ports if mtu is not None]
    if len(known) > 1:
        lines.append(f"least path MTU {min(known)} bytes, greatest {max(known)} bytes")
    return lines


def portsInWords(ports: Sequence[int]) -> str:
    """
    Return a list of source ports, of which only the first are named if they are many.
    """
    named = ", ".join(map(str, ports[:_PORTS]))
    more = len(ports) - _PORTS
    noun = "source port" if len(ports) == 1 else "source ports"
    return f"{noun} {named}" + (f" and {more} more" if more > 0 else "")
