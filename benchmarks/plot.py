"""
A plot of the figures.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.report import FIGURES, TITLES, Summary, describe


def draw(path: Path, where: dict[str, Any], summary: Summary) -> None:
    """
    Draw a panel per load and size: the first figure, with its spread.

    @raise ImportError: when matplotlib is not installed.
    """
    plt: Any = import_module("matplotlib.pyplot")
    plt.switch_backend("agg")
    loads = list(dict.fromkeys(load for load, _ in summary))
    columns = max(sum(load == other for load, _ in summary) for other in loads)
    sheet, panels = plt.subplots(
        len(loads), columns, figsize=(4 * columns, 2.5 * len(loads)), squeeze=False
    )
    for panel in panels.flat:
        panel.set_axis_off()
    places = {load: iter(panels[row]) for row, load in enumerate(loads)}
    for (load, size), servers in summary.items():
        panel = next(places[load])
        panel.set_axis_on()
        name, label = next(iter(FIGURES[load].items()))
        shown = [figures[name] for figures in servers.values()]
        below = [one.median - one.least for one in shown]
        above = [one.most - one.median for one in shown]
        panel.barh(list(servers), [one.median for one in shown], xerr=[below, above])
        panel.invert_yaxis()
        panel.set_title(TITLES[load].format(size=f"{size:,}"), fontsize=7)
        panel.set_xlabel(label, fontsize=7)
        panel.tick_params(labelsize=7)
    sheet.suptitle(describe(where), fontsize=8)
    sheet.tight_layout()
    sheet.savefig(path)
