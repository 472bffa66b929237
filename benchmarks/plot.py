"""
A plot of the measurements.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.report import COLUMNS, Summary, describe, kind, title


def draw(path: Path, machine: dict[str, Any], summary: Summary) -> None:
    """
    Draw a panel per load and size: the first column, with its range.

    @raise ImportError: If matplotlib is not installed.
    """
    plt: Any = import_module("matplotlib.pyplot")
    plt.switch_backend("agg")
    loads = list(dict.fromkeys(load for load, _ in summary))
    width = max(sum(load == other for load, _ in summary) for other in loads)
    figure, panels = plt.subplots(
        len(loads), width, figsize=(4 * width, 2.5 * len(loads)), squeeze=False
    )
    for panel in panels.flat:
        panel.set_axis_off()
    rows = {load: iter(panels[row]) for row, load in enumerate(loads)}
    for (load, size), servers in summary.items():
        panel = next(rows[load])
        panel.set_axis_on()
        name, label = next(iter(COLUMNS[kind(load)].items()))
        shown = [statistics[name] for statistics in servers.values()]
        below = [each.median - each.least for each in shown]
        above = [each.most - each.median for each in shown]
        panel.barh(list(servers), [each.median for each in shown], xerr=[below, above])
        panel.invert_yaxis()
        panel.set_title(title(load, size), fontsize=7)
        panel.set_xlabel(label, fontsize=7)
        panel.tick_params(labelsize=7)
    figure.suptitle(describe(machine), fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
