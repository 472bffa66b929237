"""
The differences between the flows of a target in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shout.cli.headers import nameOfTTL
from shout.cli.text import errorsInWords, milliseconds, percent, portsInWords
from shout.cli.tos import dscpInWords
from shout.measure.chance import LEVEL
from shout.measure.histogram import Histogram
from shout.measure.lossy import LOSS, missing
from shout.measure.result import Result
from shout.measure.verdict import Verdict

_Flows = Sequence[Result]

_BEYOND_CHANCE = f"beyond chance (p < {LEVEL:g})"

# The kinds of loss, by the attribute of a result.
_KINDS = {
    "lost": "lost",
    "late": "late",
    "refused": "refused",
    "answeredWrong": "answered wrong",
}


def verdictLines(verdict: Verdict) -> list[str]:
    """
    Return the verdict in sentences; none for a single flow.
    """
    flows = verdict.flows
    if len(flows) < 2:
        return []
    if verdict.isSilent:
        answer = _rightAnswer(flows)
        lines = [f"None of the {len(flows)} flows gets {answer}{_errors(flows)}."]
    elif verdict.isAlike:
        lines = [_alikeLine(verdict)]
    else:
        loss = [*_deadLines(verdict), *_lossyLines(verdict)]
        lines = [*(loss or [_evenLossLine(flows)]), *_timeLines(verdict)]
    lines += _doubtLines(verdict)
    lines += _headerLines(
        f"arrive with {nameOfTTL(':' in flows[0].address)}",
        verdict.ttls,
        str,
        ": the ways back, or the hosts that answer, differ",
    )
    return lines + _headerLines("come with DSCP", verdict.dscps, dscpInWords)


def verdictObject(verdict: Verdict) -> dict[str, Any]:
    """
    Return the verdict as an object for JSON.  The C{kind} is that of the gravest
    difference.
    """
    kinds = {
        "one flow": len(verdict.flows) < 2,
        "no answer": verdict.isSilent,
        "dead": verdict.dead,
        "lossy": verdict.lossy,
        "slow": verdict.slow,
        "uneven": verdict.hasUnevenTimes,
        "doubtful": verdict.doubtful,
        "alike": True,
    }
    return {
        "kind": next(kind for kind, holds in kinds.items() if holds),
        "level": LEVEL,
        **{
            name: _ports(getattr(verdict, name))
            for name in ("dead", "doubtful", "lossy", "slow")
        },
        "uneven_times": verdict.hasUnevenTimes,
        "needed": verdict.needed,
        "ttls": [
            {"ttl": ttl, "source_ports": _ports(flows)}
            for ttl, flows in verdict.ttls.items()
        ],
        "dscps": [
            {"dscp": dscp, "source_ports": _ports(flows)}
            for dscp, flows in verdict.dscps.items()
        ],
    }


def _ports(flows: _Flows) -> list[int]:
    return [flow.sourcePort or 0 for flow in flows]


def _named(flows: _Flows) -> str:
    return f"({portsInWords(_ports(flows))})"


def _verb(flows: _Flows, one: str, several: str) -> str:
    return one if len(flows) == 1 else several


def _errors(flows: _Flows) -> str:
    """
    Return the ICMP errors of some flows, after a colon; empty if there are none.
    """
    errors: Counter[tuple[str, str | None]] = Counter()
    for flow in flows:
        errors.update(flow.icmpErrors)
    return f": {errorsInWords(errors)}" if errors else ""


def _loses(flows: _Flows) -> str:
    """
    Return the loss of some flows, with its verb.
    """
    lost = missing(flows)
    if not lost:
        return _verb(flows, "loses nothing", "lose nothing")
    share = percent(100 * lost / sum(flow.sent for flow in flows))
    kinds = [
        name
        for attribute, name in _KINDS.items()
        if any(getattr(flow, attribute) for flow in flows)
    ]
    if kinds == ["lost"]:
        return f"{_verb(flows, 'loses', 'lose')} {share}"
    return f"{_verb(flows, 'has', 'have')} {share} {' or '.join(kinds)}"


def _others(flows: _Flows, *groups: _Flows) -> tuple[list[Result], str]:
    """
    Return the flows that are in none of the groups, and their name.
    """
    named = {flow.sourcePort for group in groups for flow in group}
    others = [flow for flow in flows if flow.sourcePort not in named]
    return others, "the other" if len(others) == 1 else f"the other {len(others)}"


def _someOf(some: _Flows, verdict: Verdict) -> str:
    """
    Return the number of some flows that are alive, and that of all such flows.
    """
    alive = len(verdict.flows) - len(verdict.dead)
    return f"{len(some)} of {'the other ' if verdict.dead else ''}{alive} flows"


def _rightAnswer(flows: _Flows) -> str:
    """
    Return the name of the answer that the flows lack.
    """
    if any(flow.late for flow in flows):
        return "an answer in time"
    isWrong = any(flow.answeredWrong for flow in flows)
    return "a right answer" if isWrong else "an answer"


def _deadLines(verdict: Verdict) -> list[str]:
    groups: dict[str, list[Result]] = {}
    for flow in verdict.dead:
        kind = "late" if flow.late else "wrong" if flow.answeredWrong else "silent"
        groups.setdefault(kind, []).append(flow)
    all = f"{len(verdict.flows)} flows"
    lines = []
    for kind, flows in groups.items():
        refused = [flow for flow in flows if flow.refused]
        line, end = f"{len(flows)} of {all} ", ""
        if kind != "silent":
            line += f"{_verb(flows, 'gets', 'get')} {kind} replies only {_named(flows)}"
        elif len(refused) == len(flows):
            line += f"{_verb(flows, 'is', 'are')} refused {_named(flows)}"
            line += _errors(flows)
        else:
            line += f"{_verb(flows, 'gets', 'get')} no answer at all {_named(flows)}"
            if refused:
                # Routers limit the rate of their errors.
                line += f", {len(refused)} of them with ICMP errors{_errors(refused)}"
            else:
                end = " One or more of several parallel paths are down."
        if flows is [*groups.values()][-1] and not verdict.lossy:
            others, name = _others(verdict.flows, verdict.dead)
            line += f"; {name} {_loses(others)}"
        lines.append(f"{line}.{end}")
    return lines


def _lossyLines(verdict: Verdict) -> list[str]:
    lossy = verdict.lossy
    if not lossy:
        return []
    line = f"{_someOf(lossy, verdict)} {_loses(lossy)} {_named(lossy)}{_errors(lossy)}"
    others, name = _others(verdict.flows, verdict.dead, lossy)
    if verdict.dead:
        name = name.replace("the other", "the remaining")
    return [f"{line}; {name} {_loses(others)}, {_BEYOND_CHANCE}."]


def _evenLossLine(flows: _Flows) -> str:
    if not missing(flows):
        return f"None of the {len(flows)} flows loses anything."
    return (
        f"The {len(flows)} flows together {_loses(flows)}, with no difference between "
        "flows beyond chance."
    )


def _timeLines(verdict: Verdict) -> list[str]:
    slow = verdict.slow
    alive, _ = _others(verdict.flows, verdict.dead)
    if slow:
        others, name = _others(alive, slow)
        return [
            f"{_someOf(slow, verdict)} {_verb(slow, 'is', 'are')} slower "
            f"{_named(slow)}: a median round trip of {_median(slow)} ms, and "
            f"{_median(others)} ms on {name}."
        ]
    if verdict.hasUnevenTimes:
        return [
            f"Round trips differ between flows {_BEYOND_CHANCE}, but not in two "
            f"groups: {_medians(alive)}."
        ]
    return []


def _median(flows: _Flows) -> str:
    histogram = Histogram.merge(flow.histogram for flow in flows)
    return milliseconds(histogram.percentile(50))


def _medians(flows: _Flows) -> str:
    medians = sorted(flow.roundTrips.p50 for flow in flows if flow.roundTrips)
    first, last = milliseconds(medians[0]), milliseconds(medians[-1])
    if first == last:
        return f"median round trip {first} ms"
    return f"median round trips {first} to {last} ms"


def _alikeLine(verdict: Verdict) -> str:
    flows = verdict.flows
    times = ""
    if any(flow.roundTrips for flow in flows):
        times = f", {_medians(flows)}"
    if not missing(flows):
        all = "Both" if len(flows) == 2 else f"All {len(flows)}"
        return f"{all} flows are alike: none loses anything{times}."
    return f"{_evenLossLine(flows)[:-1]}{times.replace(',', ';')}."


def _doubtLines(verdict: Verdict) -> list[str]:
    """
    Return lines about flows that sent nothing, or too little.
    """
    flows, doubtful, unclear = verdict.flows, verdict.doubtful, verdict.unclear
    size = min(flow.sent for flow in flows)
    few = f"{size} datagram{'s' if size > 1 else ''} per flow"
    few += " are too few to tell" if size > 1 else " is too little to tell"
    enough = f"; about {verdict.needed} would do" if verdict.needed else ""
    lines = []
    if verdict.unsent:
        count = len(verdict.unsent)
        lines.append(f"{count} of {count + len(flows)} flows sent nothing.")
    if doubtful:
        lines.append(
            f"{_someOf(doubtful, verdict)} {_verb(doubtful, 'gets', 'get')} no answer "
            f"{_named(doubtful)}, which may be chance: {few}{enough}."
        )
    elif unclear and enough:
        lines.append(
            f"{_someOf(unclear, verdict)} may belong to either group: {few}{enough}."
        )
    elif enough:
        part = "a quarter of the" if len(flows) >= 8 else "one of the"
        more = " more" if missing(flows) else ""
        loss = percent(100 * LOSS)
        lines.append(f"{few} if {part} flows loses {loss}{more}{enough}.")
    return lines


def _headerLines(
    text: str,
    groups: Mapping[int, _Flows],
    inWords: Callable[[int], str],
    end: str = "",
) -> list[str]:
    """
    Return a line about the flows by a field of the headers of replies, the one that is
    most frequent last.
    """
    if not groups:
        return []
    *rest, most = sorted(groups, key=lambda value: len(groups[value]))
    parts = [
        f"{inWords(value)} on {len(groups[value])} "
        f"{_verb(groups[value], 'flow', 'flows')} {_named(groups[value])}"
        for value in rest
    ]
    count = len(groups[most])
    return [
        f"Replies {text} {', '.join(parts)} and {inWords(most)} on "
        f"{f'the other {count}' if count > 1 else 'another'}{end}."
    ]
