"""
Results and events as JSON for programs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shout.measure.result import LOST, OUTSTANDING, REFUSED, Event, Result
from shout.measure.target import Target

if TYPE_CHECKING:
    from shout.measure.hops import Hop

FORMAT = 1
"""
The version of the objects.  It changes if the meaning of a field changes or a field
is removed, but not if one is added.
"""

# The names of the counts, and the attributes of a Result.
_COUNTS = {
    "sent": "sent",
    "answered": "answered",
    "lost": "lost",
    "duplicates": "duplicates",
    "late": "late",
    "out_of_order": "outOfOrder",
    "wrong": "wrong",
    "refused": "refused",
    "answered_wrong": "answeredWrong",
    "out_of_window": "outOfWindow",
    "skipped": "skipped",
    "kernel_drops": "kernelDrops",
    "in_flight_at_end": "inFlightAtEnd",
}

# The counts of a flow.
_FLOW_COUNTS = ("sent", "answered", "lost", "late", "refused", "wrong")

_TIMES = ("min", "mean", "p50", "p90", "p99", "max", "stddev")


def document(
    results: Sequence[Result],
    failures: Sequence[tuple[Target, str]] = (),
    tos: int = 0,
    span: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """
    Return the object printed at the end.  It has C{format}, C{start} and C{end}, and
    the fields of a target if there is only one, otherwise C{targets}, a list of
    objects.

    @param failures: The targets that could not be measured, each with the reason.

    @param tos: The type of service of the probes.

    @param span: The start and the end of the run by the wall clock, in nanoseconds.
    """
    start, end = span or (None, None)
    run = {"format": FORMAT, "start": start, "end": end}
    targets = [_resultObject(result, tos) for result in results]
    targets += [targetObject(target, None, tos, error) for target, error in failures]
    if len(targets) == 1:
        return {**run, **targets[0]}
    return {**run, "targets": targets}


def _resultObject(result: Result, tos: int) -> dict[str, Any]:
    fields = targetObject(result, result, tos)
    if len(result.flows) > 1:
        # Imported here, because most runs do not need it.
        from shout.cli.paths import verdictField

        fields |= verdictField(result)
    return fields


def targetObject(
    target: Target | Result, result: Result | None, tos: int, error: str | None = None
) -> dict[str, Any]:
    """
    Return the object for a target, or the same fields for one of its flows.

    @param result: The result; C{None} if the target could not be measured.

    @param error: The reason for that.
    """
    # Without a result the counts are 0 and the times null.
    trips = result and result.roundTrips
    return {
        "host": target.host,
        "port": target.port,
        **{name: getattr(result, each, 0) for name, each in _COUNTS.items()},
        "rate": round(result.rate, 3) if result else 0.0,
        "rtt_ns": {name: getattr(trips, name, None) for name in _TIMES},
        "jitter_ns": result and result.jitter,
        "icmp_errors": _errorObjects(result) if result else [],
        "ttl": result and result.ttl,
        "tos": {"sent": tos, "received": result and result.tos},
        "clock": result and clockName(result.hasKernelTimes),
        "flows": [_flowObject(flow, tos) for flow in result.flows] if result else [],
        "error": error,
    }


def _flowObject(flow: Result, tos: int) -> dict[str, Any]:
    trips = flow.roundTrips
    return {
        "source_port": flow.sourcePort,
        **{name: getattr(flow, _COUNTS[name]) for name in _FLOW_COUNTS},
        "rtt_ns": {name: getattr(trips, name, None) for name in _TIMES},
        "icmp_errors": _errorObjects(flow),
        "answered_from": list(flow.elsewhere),
        "ttl": flow.ttl,
        "tos": {"sent": tos, "received": flow.tos},
        "hops": flow.hops and [_hopObject(hop) for hop in flow.hops],
    }


def _hopObject(hop: Hop) -> dict[str, Any]:
    return {
        "ttl": hop.ttl,
        "address": hop.address,
        "name": hop.name,
        "rtt_ns": hop.roundTrip,
        "reason": hop.reason or None,
        "target": hop.isTarget,
    }


def _errorObjects(result: Result) -> list[dict[str, Any]]:
    return [
        {"from": sender, "reason": reason, "count": count}
        for (reason, sender), count in result.icmpErrors.items()
    ]


def clockName(hasKernelTimes: bool) -> str:
    """
    Return the name of the clock that the times of arrival are from.
    """
    return "kernel" if hasKernelTimes else "monotonic"


def eventObject(event: Event, target: Target, time: int) -> dict[str, Any]:
    """
    Return the object for an event.

    @param time: The time of the event by the wall clock, in nanoseconds.
    """
    fields: dict[str, Any] = {
        "event": event.kind.replace(" ", "_"),
        "time": time,
        "host": target.host,
        "port": target.port,
        "seq": event.number,
    }
    if event.kind not in (LOST, OUTSTANDING, REFUSED):
        fields["bytes"] = event.length
    if event.roundTrip is not None:
        fields["rtt_ns"] = event.roundTrip
    if event.header.ttl is not None:
        fields["ttl"] = event.header.ttl
    if event.isOutOfOrder:
        fields["out_of_order"] = True
    if event.sourcePort is not None:
        fields["source_port"] = event.sourcePort
    if event.detail:
        fields["detail"] = event.detail
    if event.error is not None and event.error.sender is not None:
        fields["from"] = event.error.sender
    return fields


def eventLine(event: Event, target: Target, time: int) -> str:
    """
    Return the line for an event; see L{eventObject}.
    """
    return json.dumps(eventObject(event, target, time))


def beginObject(
    target: Target, size: int, hasKernelTimes: bool, time: int
) -> dict[str, Any]:
    """
    Return the object printed before the first event.

    @param time: The time by the wall clock, in nanoseconds.
    """
    return {
        "event": "begin",
        "time": time,
        "host": target.host,
        "address": target.address,
        "port": target.port,
        "size": size,
        "clock": clockName(hasKernelTimes),
    }


def leftOutLine(count: int, time: int) -> str:
    """
    Return the line in place of events that were read too slowly.

    @param time: The time by the wall clock, in nanoseconds.
    """
    return json.dumps({"event": "left out", "time": time, "count": count})
