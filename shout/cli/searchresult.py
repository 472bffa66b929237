"""
The results of searches, as text for people and as JSON for programs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from shout.cli.document import FORMAT
from shout.cli.text import (
    errorsInWords,
    inWords,
    milliseconds,
    pace,
    percent,
    portsInWords,
)
from shout.measure.mtu import MTUResult
from shout.measure.rate import CEILING, LOSS, MACHINE, STOPPED, RateResult, Step
from shout.measure.search import SearchRunner
from shout.measure.target import Target

_BAR = 40


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


def rateObject(
    target: Target, result: RateResult, error: str | None = None
) -> dict[str, Any]:
    """
    Return the object for the highest rate without loss.

    @param error: The reason if there was no search.
    """
    return {
        **_header(target),
        "rate": result.best,
        "limit": result.limit,
        "steps": [
            {
                "rate": step.rate,
                "sent": step.result.sent,
                "answered": step.result.answered,
                "managed": round(step.result.rate, 3),
            }
            for step in result.steps
        ],
        "error": error,
    }


def mtuObject(
    target: Target, result: MTUResult, error: str | None = None
) -> dict[str, Any]:
    """
    Return the object for the largest datagrams.

    @param error: The reason if they were not result.
    """
    return {
        **_header(target),
        "whole": result.whole,
        "unfragmented": result.unfragmented,
        "path_mtu": result.pathMTU,
        "path_mtu_at_least": result.isAtLeast,
        "error": error,
    }


def mtuFlowObject(sourcePort: int | None, flow: MTUResult) -> dict[str, Any]:
    """
    Return the object for the largest datagrams of one flow.
    """
    return {
        "source_port": sourcePort,
        "unfragmented": flow.unfragmented,
        "path_mtu": flow.pathMTU,
        "path_mtu_at_least": flow.isAtLeast,
    }


def _header(target: Target) -> dict[str, Any]:
    return {"format": FORMAT, "host": target.host, "port": target.port}
