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
from statistics import median
from typing import Any

BASES = ("c", "twisted")
"""
The servers with which the others are compared.
"""

TITLES = {
    "stream": "{size} bytes, one client: 128 in flight over 4 sockets",
    "crowd": "{size} bytes, 256 clients in turn: one in flight each",
    "ping": "{size} bytes, one in flight: the round trip",
    "memory": "{size} bytes: resident memory afterwards",
}

COLUMNS = {
    "stream": {"cpu": "CPU µs/reply", "rate": "replies/s"},
    "crowd": {"cpu": "CPU µs/reply", "rate": "replies/s"},
    "ping": {"p50": "p50 µs", "p99": "p99 µs"},
    "memory": {"rss": "MiB"},
}
"""
Per load, the values that the table shows with their range and ratios.
"""

EXTRA_COLUMNS = {
    "stream": {"lost": "lost", "load": "load µs"},
    "crowd": {"lost": "lost", "load": "load µs"},
    "ping": {"lost": "lost", "cpu": "CPU µs/reply"},
    "memory": {},
}
"""
Per load, the values of which the table shows only the median.
"""

LEGEND = """\
median [least - most] of the rounds; servers without any reply are omitted
/c, /twisted: median of the ratios to that server within each round
lost: datagrams dropped because a receive buffer was full; fewer were in flight then
load µs: CPU of the load generator, per reply"""


@dataclass(frozen=True)
class Measurement:
    """
    The values of one server in one round under one load.

    @ivar values: Microseconds (C{cpu}, C{load}, C{p50}, C{p99}), MiB (C{rss}), replies
        per second (C{rate}) and counts, by name; empty if the server did not answer.

    @ivar example: A wrong reply and the expected one, or an empty string.
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
        return Statistic(median(all), min(all), max(all), ratios)

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


def _lines(summary: Summary) -> Iterator[str]:
    for (load, size), servers in summary.items():
        rows = [[TITLES[load].format(size=f"{size:,}")]]
        for label in COLUMNS[load].values():
            rows[0] += [label, "", *(f"/{base}" for base in BASES)]
        rows[0] += EXTRA_COLUMNS[load].values()
        for server, statistics in servers.items():
            row = [f"  {server}"]
            for name in COLUMNS[load]:
                each = statistics[name]
                row += [_number(each.median)]
                row += [f"[{_number(each.least)} - {_number(each.most)}]"]
                for base in BASES:
                    ratio = each.ratios.get(base)
                    row += ["-" if ratio is None else f"{ratio:.2f}"]
            row += [_number(statistics[name].median) for name in EXTRA_COLUMNS[load]]
            rows.append(row)
        widths = [max(map(len, column)) for column in list(zip(*rows))[1:]]
        yield ""
        yield rows[0][0]
        for first, *rest in rows:
            first = "" if first == rows[0][0] else first
            cells = (cell.rjust(width) for cell, width in zip(rest, widths))
            yield f"{first:20}" + "  ".join(cells)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"


def _notes(summary: Summary) -> Iterator[str]:
    for (load, size), servers in summary.items():
        if "load" not in EXTRA_COLUMNS[load]:
            continue
        fastest = min(servers, key=lambda name: servers[name]["cpu"].median)
        statistics = servers[fastest]
        ours, theirs = statistics["load"].median, statistics["cpu"].median
        if ours >= theirs:
            yield (
                f"note: {load}, {size:,} bytes: the load generator uses {ours:.3g} µs "
                f"per reply, the fastest server ({fastest}) {theirs:.3g}: compare CPU, "
                "not replies/s"
            )


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
    }


def describe(machine: dict[str, Any]) -> str:
    """
    Return the result of L{describeMachine} in one line.
    """
    return (
        "{system}, {processor}, {cores} cores; Python {python}, Twisted {twisted}, "
        "shout {shout}; {when}"
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
