"""
What a search for a rate or a size has found, as people read it.
"""

from __future__ import annotations

from shout.cli.text import inWords, milliseconds, pace, percent
from shout.measure.mtu import MTUResult
from shout.measure.rate import CEILING, LOSS, MACHINE, STOPPED, RateResult, Step
from shout.measure.search import SearchRunner

_BAR = 40


def nothingLine(runner: SearchRunner) -> str:
    """
    Return the line about a target from which nothing right came back.
    """
    if runner.kinds:
        return f"only wrong replies came back: {inWords(runner.kinds)}"
    if runner.icmpErrors:
        return f"nothing came back: {inWords(runner.icmpErrors)}"
    return "nothing came back"


def stepLine(step: Step) -> str:
    """
    Return the line about a rate that was tried.
    """
    result = step.result
    text = f"{step.rate:>11,.0f} per s: {result.sent} sent, "
    text += f"{percent(result.unanswered)} not answered"
    if result.roundTrips is not None:
        text += f", p50 {milliseconds(result.roundTrips.p50)} ms"
    return text if step.isSent else f"{text}, {_managed(step)}"


def _managed(step: Step) -> str:
    return f"this machine managed {pace(step.result.rate)} per s"


def rateLines(found: RateResult, nothing: str) -> list[str]:
    """
    Return the curve and what was found out.

    @param nothing: the line for when nothing was answered.
    """
    lines = ["", "not answered, by rate:"] if found.steps else []
    for step in sorted(found.steps, key=lambda step: step.rate):
        share = step.result.unanswered
        bar = "#" * -(-_BAR * round(share * 100) // 10000)
        note = "" if step.isSent else _managed(step)
        parts = (f"{step.rate:>11,.0f} per s {percent(share):>17}", bar, note)
        lines.append(" ".join(filter(None, parts)))
    why = {
        LOSS: "above that, datagrams get lost",
        MACHINE: "above that, this machine cannot send and receive evenly",
        CEILING: "no higher rate was tried; off the loopback --flood allows more",
        STOPPED: "stopped before a higher one was tried",
    }
    if not found.isSudden:
        why[LOSS] = (
            "above that some get lost, but hardly more at higher rates: "
            "it may not be the rate that loses them"
        )
    lines.append("")
    if found.best:
        lines.append(
            f"highest rate without loss: {found.best:,.0f} per s ({why[found.limit]})"
        )
    elif found.limit == STOPPED:
        lines.append("stopped before any rate was known to be without loss")
    elif any(step.result.answered for step in found.steps):
        lines.append("no rate was without loss")
    else:
        lines.append(nothing)
    return lines


def sizeLine(size: int, isAllowed: bool, isWhole: bool) -> str:
    """
    Return the line about a size that was tried.

    @param isAllowed: whether it may be fragmented.

    @param isWhole: whether it came back.
    """
    how = "" if isAllowed else " unfragmented"
    return f"{size:>7} bytes{how}: {'came back' if isWhole else 'did not come back'}"


def sizeLines(found: MTUResult, nothing: str) -> list[str]:
    """
    Return what was found out.

    @param nothing: the line for when nothing was answered.
    """
    if found.whole is None:
        return ["", f"{nothing}, of any size"]
    most = ", the most there can be" if found.whole == found.largest else ""
    lines = ["", f"largest that comes back whole: {found.whole} bytes{most}"]
    if found.unfragmented is not None:
        atLeast = "at least " if found.isAtLeast else ""
        lines += [
            f"largest that comes back unfragmented: {found.unfragmented} bytes",
            f"path MTU: {atLeast}{found.pathMTU} bytes "
            f"({found.headers} of them headers)",
        ]
    elif found.headers:
        lines.append("nothing comes back unfragmented, or this system cannot tell")
    return lines
