"""
The table and the JSON document of the measurements.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from socket import AF_INET
from statistics import median
from typing import Any

from benchmarks.load import CLOSED, openLoops
from shout.udp.listening import portTypeFor

BASES = ("c-same", "c", "loop", "twisted")
"""
The servers with which the others are compared.
"""

COLUMNS = {
    "closed": {"cpu": "CPU µs/reply"},
    "open": {"cpu": "CPU µs/reply", "due_p50": "p50 µs"},
    "ping": {"cpu": "CPU µs/reply", "due_p50": "p50 µs"},
    "memory": {"rss": "MiB"},
}
"""
Per kind of load, the values that the table shows with their range and ratios.
"""

EXTRA_COLUMNS = {
    "closed": {"user": "user", "busy": "busy %", "rate": "replies/s"},
    "open": {
        "user": "user",
        "due_p99": "p99",
        "sent_p50": "p50 sent",
        "sent_p99": "p99 sent",
        "late_p99": "p99 late",
    },
    "ping": {"user": "user", "due_p99": "p99"},
    "memory": {},
}
"""
Per kind of load, the values of which the table shows only the median.
"""

COUNTS = {"lost": "lost", "wrong": "wrong"}
"""
The values of which the table shows the sum of all rounds.
"""

LEGEND = """\
median [least - most] of the rounds; servers without any reply are omitted
/c-same and so on: median of the ratios to that server within each round
CPU µs/reply: of the server; user is the part outside the kernel, found by sampling
busy: CPU of the server in percent of the time
p50, p99: round trip in µs from the time when the datagram was due
sent: from the time when it was sent; late: from due to sent, a delay of the load
lost, wrong: sum of all rounds; replies are awaited for 0.2 s (at random: 0.5 s)"""


@dataclass(frozen=True)
class Measurement:
    """
    The values of one server in one round under one load.

    @ivar values: MiB (C{rss}), or the fields of an L{Outcome<benchmarks.load.Outcome>}
        and the microseconds of CPU per reply (C{cpu}, C{user}, C{load}), by name; empty
        if the server did not answer.

    @ivar example: The beginning of a wrong reply, or an empty string.
    """

    round: int
    server: str
    load: str
    size: int
    values: dict[str, float]
    example: str = ""


@dataclass(frozen=True)
class Statistic:
    """
    One value over all rounds.

    @ivar ratios: The ratios to those of L{BASES} that were measured, by server.
    """

    median: float
    least: float
    most: float
    total: float
    ratios: dict[str, float]


Summary = dict[tuple[str, int], dict[str, dict[str, Statistic]]]
"""
Statistics by load and size, server, and name of the value.
"""


def summarize(measurements: Sequence[Measurement]) -> Summary:
    """
    Take the medians of the rounds.  A ratio compares two values of the same round, so
    a machine whose speed drifts does not distort it.
    """
    rounds: dict[tuple[str, int], dict[str, dict[int, dict[str, float]]]] = {}
    for each in measurements:
        if not each.values:
            continue
        servers = rounds.setdefault((each.load, each.size), {})
        servers.setdefault(each.server, {})[each.round] = each.values

    def statistic(
        servers: dict[str, dict[int, dict[str, float]]], server: str, name: str
    ) -> Statistic:
        values = {number: each[name] for number, each in servers[server].items()}
        ratios = {}
        for base in BASES:
            others = servers.get(base, {})
            both = [
                value / others[number][name]
                for number, value in values.items()
                if others.get(number, {}).get(name)
            ]
            if both:
                ratios[base] = median(both)
        all = values.values()
        return Statistic(median(all), min(all), max(all), sum(all), ratios)

    return {
        case: {
            server: {
                name: statistic(servers, server, name)
                for name in next(iter(each.values()))
            }
            for server, each in servers.items()
        }
        for case, servers in rounds.items()
    }


def table(summary: Summary) -> str:
    """
    Return the statistics as text.
    """
    return "\n".join([*_lines(summary), "", LEGEND, *_notes(summary)])


def title(load: str, size: int) -> str:
    """
    Return the title of the table of a load.
    """
    if load == "memory":
        return f"{size:,} bytes: resident memory afterwards"
    rate = load.removeprefix("open-")
    loads = openLoops([int(rate)]) if rate != load else CLOSED
    return f"{size:,} bytes, {loads[load].title}"


def kind(load: str) -> str:
    """
    Return the key of a load in L{COLUMNS}.
    """
    name = load.partition("-")[0]
    return name if name in COLUMNS else "closed"


def _lines(summary: Summary) -> Iterator[str]:
    for (load, size), servers in summary.items():
        columns, extra = COLUMNS[kind(load)], EXTRA_COLUMNS[kind(load)]
        counts = {} if load == "memory" else COUNTS
        rows = [[""]]
        for label in columns.values():
            rows[0] += [label, "", *(f"/{base}" for base in BASES)]
        rows[0] += [*extra.values(), *counts.values()]
        for server, statistics in servers.items():
            row = [f"  {server}"]
            for name in columns:
                each = statistics[name]
                row += [_number(each.median)]
                row += [f"[{_number(each.least)} - {_number(each.most)}]"]
                for base in BASES:
                    ratio = each.ratios.get(base)
                    row += ["-" if ratio is None else f"{ratio:.2f}"]
            row += [_number(statistics[name].median) for name in extra]
            row += [_number(statistics[name].total) for name in counts]
            rows.append(row)
        widths = [max(map(len, column)) for column in list(zip(*rows))[1:]]
        yield ""
        yield title(load, size)
        for first, *rest in rows:
            cells = (cell.rjust(width) for cell, width in zip(rest, widths))
            yield f"{first:20}" + "  ".join(cells)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"


def _notes(summary: Summary) -> Iterator[str]:
    for (load, size), servers in summary.items():
        if kind(load) in ("memory", "open"):
            continue
        fastest = min(servers, key=lambda name: servers[name]["cpu"].median)
        ours, theirs = (servers[fastest][name].median for name in ("load", "cpu"))
        yield (
            f"note: {load}, {size:,} bytes: the load generator uses {ours:.3g} µs per "
            f"reply, the fastest server ({fastest}) {theirs:.3g}"
        )


def markdown(
    summary: Summary, loads: Sequence[str], name: str, label: str, base: str
) -> str:
    """
    Return one value of some loads as a table in Markdown: the median, and the ratio to
    a server.

    @param name: The name of the value.

    @param label: Description of the value.
    """
    cases = [case for load in loads for case in summary if case[0] == load]
    head = [label, *(f"{load} {size:,}" for load, size in cases)]
    rows = [head, ["---"] * len(head)]
    for server in dict.fromkeys(name for case in cases for name in summary[case]):
        row = [server]
        for case in cases:
            each = summary[case].get(server, {}).get(name)
            if each is None:
                row += ["no reply"]
            elif base in each.ratios:
                row += [f"{_number(each.median)} ({each.ratios[base]:.2f})"]
            else:
                row += [_number(each.median)]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def describeMachine() -> dict[str, Any]:
    """
    Return the place and the time of the measurements, and the versions.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [
        line.partition(": ")[2] for line in lines if line.startswith("model name")
    ]
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{models[0] if models else platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "twisted": import_module("twisted").__version__,
        "shout": import_module("shout").__version__,
        "port": portTypeFor(AF_INET).kind,
    }


def describe(machine: dict[str, Any]) -> str:
    """
    Return the result of L{describeMachine} in one line.
    """
    return (
        "{system}, {processor}, {cores} cores; Python {python}, Twisted {twisted}, "
        "shout {shout} ({port}); {when}"
    ).format(**machine)


def writeJSON(
    path: Path, machine: dict[str, Any], measurements: Sequence[Measurement]
) -> None:
    """
    Write the machine, the summary, and each measurement.
    """
    summary = [
        {
            "load": load,
            "size": size,
            "server": server,
            "values": {name: asdict(each) for name, each in statistics.items()},
        }
        for (load, size), servers in summarize(measurements).items()
        for server, statistics in servers.items()
    ]
    document = {
        "machine": machine,
        "summary": summary,
        "measurements": [asdict(each) for each in measurements],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
