"""
Measurements as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shout.measure.mtu import MTUResult
from shout.measure.rate import RateResult
from shout.measure.result import LOST, REFUSED, Event, Result
from shout.measure.target import Target

FORMAT = 1
"""
The version of the objects.  It changes when a field changes its meaning or goes
away, and not when one is added.
"""

# The names of the counts, and of their attributes.
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

_TIMES = ("min", "mean", "p50", "p90", "p99", "max", "stddev")


def document(
    results: Sequence[Result], failures: Sequence[tuple[Target, str]] = ()
) -> dict[str, Any]:
    """
    Return what is printed as JSON: with one target its object, with several
    C{targets}, a list of theirs; and C{format}.

    @param failures: the targets that could not be measured, and why.
    """
    targets = [_object(result) for result in results]
    targets += [_failureObject(target, error) for target, error in failures]
    if len(targets) == 1:
        return {"format": FORMAT, **targets[0]}
    return {"format": FORMAT, "targets": targets}


def _object(result: Result) -> dict[str, Any]:
    histogram = result.roundTrips
    return {
        "host": result.host,
        "port": result.port,
        **{name: getattr(result, each) for name, each in _COUNTS.items()},
        "rate": round(result.rate, 3),
        "rtt_ns": {name: getattr(histogram, name, None) for name in _TIMES},
        "jitter_ns": result.jitter,
        "clock": clockName(result.hasKernelTimes),
        "error": None,
    }


def _failureObject(target: Target, error: str) -> dict[str, Any]:
    return {
        "host": target.host,
        "port": target.port,
        **dict.fromkeys(_COUNTS, 0),
        "rate": 0.0,
        "rtt_ns": dict.fromkeys(_TIMES),
        "jitter_ns": None,
        "clock": None,
        "error": error,
    }


def clockName(hasKernelTimes: bool) -> str:
    """
    Return whose times those of arrival are.
    """
    return "kernel" if hasKernelTimes else "monotonic"


def eventObject(event: Event, target: Target) -> dict[str, Any]:
    """
    Return what is printed as JSON for an event.
    """
    fields: dict[str, Any] = {
        "event": event.kind,
        "host": target.host,
        "port": target.port,
        "seq": event.number,
    }
    if event.kind not in (LOST, REFUSED):
        fields["bytes"] = event.length
    if event.roundTrip is not None:
        fields["rtt_ns"] = event.roundTrip
    if event.isOutOfOrder:
        fields["out_of_order"] = True
    if event.detail:
        fields["detail"] = event.detail
    return fields


def eventLine(event: Event, target: Target) -> str:
    """
    Return the line about an event.
    """
    return json.dumps(eventObject(event, target))


def beginObject(target: Target, size: int, hasKernelTimes: bool) -> dict[str, Any]:
    """
    Return what is printed as JSON before the first event.
    """
    return {
        "event": "begin",
        "host": target.host,
        "address": target.address,
        "port": target.port,
        "size": size,
        "clock": clockName(hasKernelTimes),
    }


def leftOutLine(count: int) -> str:
    """
    Return what is printed in the place of events that nobody reads in time.
    """
    return json.dumps({"event": "left out", "count": count})


def rateObject(
    target: Target, found: RateResult, error: str | None = None
) -> dict[str, Any]:
    """
    Return what is printed as JSON for the highest rate without loss.

    @param error: why it could not be looked for.
    """
    return {
        "format": FORMAT,
        "host": target.host,
        "port": target.port,
        "rate": found.best,
        "limit": found.limit,
        "steps": [
            {
                "rate": step.rate,
                "sent": step.result.sent,
                "answered": step.result.answered,
                "managed": round(step.result.rate, 3),
            }
            for step in found.steps
        ],
        "error": error,
    }


def sizesObject(
    target: Target, found: MTUResult, error: str | None = None
) -> dict[str, Any]:
    """
    Return what is printed as JSON for the largest datagrams.

    @param error: why they were not found.
    """
    return {
        "format": FORMAT,
        "host": target.host,
        "port": target.port,
        "whole": found.whole,
        "unfragmented": found.unfragmented,
        "path_mtu": found.pathMTU,
        "path_mtu_at_least": found.isAtLeast,
        "error": error,
    }
