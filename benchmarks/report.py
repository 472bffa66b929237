"""
From measurements to a table and JSON.
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
The servers that the others are compared with.
"""

TITLES = {
    "stream": "{size} bytes, one client: 128 under way over 4 sockets",
    "crowd": "{size} bytes, 256 clients in turn: one under way each",
    "ping": "{size} bytes, one under way: the round trip",
    "memory": "{size} bytes: the resident memory after that",
}

FIGURES = {
    "stream": {"cpu": "CPU µs/reply", "rate": "replies/s"},
    "crowd": {"cpu": "CPU µs/reply", "rate": "replies/s"},
    "ping": {"p50": "p50 µs", "p99": "p99 µs"},
    "memory": {"rss": "MiB"},
}
"""
Per load, what is shown with its spread and ratios.
"""

EXTRAS = {
    "stream": {"lost": "lost", "load": "load µs"},
    "crowd": {"lost": "lost", "load": "load µs"},
    "ping": {"lost": "lost", "cpu": "CPU µs/reply"},
    "memory": {},
}
"""
Per load, of what only the median is shown.
"""

LEGEND = """\
median [least - most] of the rounds; a server that never answered has no line
/c, /twisted: the ratio to that server, taken within each round, then the median
lost: found the server's receive buffer full; as many fewer were under way
load µs: the CPU of the load itself, per reply"""


@dataclass(frozen=True)
class Measurement:
    """
    What one server did in one round under one load.

    @ivar figures: microseconds (C{cpu}, C{load}, C{p50}, C{p99}), MiB (C{rss}),
        replies per second (C{rate}) and counts, by name; none when the server
        did not answer.

    @ivar example: a wrong reply, and what it should have been.
    """

    round: int
    server: str
    load: str
    size: int
    figures: dict[str, float]
    example: str = ""


@dataclass(frozen=True)
class Figure:
    """
    One figure over all rounds.

    @ivar ratios: by the names of L{BASES}, as far as they have been measured.
    """

    median: float
    least: float
    most: float
    ratios: dict[str, float]


Summary = dict[tuple[str, int], dict[str, dict[str, Figure]]]
"""
Figures by load and size, server, and name.
"""


def summarize(measurements: Sequence[Measurement]) -> Summary:
    """
    Take the medians of the rounds.  A ratio is that of two figures of the same
    round, so that it holds while the machine drifts.
    """
    rounds: dict[tuple[str, int], dict[str, dict[int, dict[str, float]]]] = {}
    for one in measurements:
        if not one.figures:
            continue
        servers = rounds.setdefault((one.load, one.size), {})
        servers.setdefault(one.server, {})[one.round] = one.figures

    def figure(
        servers: dict[str, dict[int, dict[str, float]]], server: str, name: str
    ) -> Figure:
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
        return Figure(median(all), min(all), max(all), ratios)

    return {
        case: {
            server: {
                name: figure(servers, server, name)
                for name in next(iter(each.values()))
            }
            for server, each in servers.items()
        }
        for case, servers in rounds.items()
    }


def table(summary: Summary) -> str:
    """
    Return the figures as text.
    """
    return "\n".join([*_lines(summary), "", LEGEND, *_notes(summary)])


def _lines(summary: Summary) -> Iterator[str]:
    for (load, size), servers in summary.items():
        rows = [[TITLES[load].format(size=f"{size:,}")]]
        for label in FIGURES[load].values():
            rows[0] += [label, "", *(f"/{base}" for base in BASES)]
        rows[0] += EXTRAS[load].values()
        for server, figures in servers.items():
            row = [f"  {server}"]
            for name in FIGURES[load]:
                one = figures[name]
                row += [_number(one.median)]
                row += [f"[{_number(one.least)} - {_number(one.most)}]"]
                for base in BASES:
                    ratio = one.ratios.get(base)
                    row += ["-" if ratio is None else f"{ratio:.2f}"]
            row += [_number(figures[name].median) for name in EXTRAS[load]]
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
        if "load" not in EXTRAS[load]:
            continue
        fastest = min(servers, key=lambda name: servers[name]["cpu"].median)
        figures = servers[fastest]
        cost, its = figures["load"].median, figures["cpu"].median
        if cost >= its:
            yield (
                f"note: {load}, {size:,} bytes: the load costs {cost:.3g} µs per "
                f"reply, the fastest server ({fastest}) {its:.3g}: compare CPU, "
                "not replies/s"
            )


def machine() -> dict[str, Any]:
    """
    Say where and when this was measured.
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


def describe(where: dict[str, Any]) -> str:
    """
    Return what L{machine} has found in one line.
    """
    return (
        "{system}, {processor}, {cores} cores; Python {python}, Twisted {twisted}, "
        "shout {shout}; {when}"
    ).format(**where)


def writeJSON(
    path: Path, where: dict[str, Any], measurements: Sequence[Measurement]
) -> None:
    """
    Write everything: the machine, the summary, and each measurement.
    """
    summary = [
        {
            "load": load,
            "size": size,
            "server": server,
            "figures": {name: asdict(one) for name, one in figures.items()},
        }
        for (load, size), servers in summarize(measurements).items()
        for server, figures in servers.items()
    ]
    everything = {
        "machine": where,
        "summary": summary,
        "measurements": [asdict(one) for one in measurements],
    }
    path.write_text(json.dumps(everything, indent=1) + "\n")
