"""
Results as CSV (RFC 4180) for programs and spreadsheets.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from shout.cli.document import targetObject
from shout.cli.text import errorText
from shout.measure.result import Result
from shout.measure.target import Target


def csvLines(
    results: Iterable[Result],
    failures: Sequence[tuple[Target, str]],
    tos: int,
    span: tuple[int, int],
) -> list[str]:
    """
    Return a header, and a row for each result.  The columns are the fields of
    L{document<shout.cli.document.document>} that are not lists.

    @param results: The results of targets, or of flows.

    @param failures: The targets that could not be measured, each with the reason.

    @param tos: The type of service of the probes.

    @param span: The start and the end of the run by the wall clock, in nanoseconds.
    """
    rows = [_row(result, result, tos, None) for result in results]
    rows += [_row(target, None, tos, error) for target, error in failures]
    lines = StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*rows[0], "start", "end"])
    for row in rows:
        writer.writerow([*row.values(), *span])
    return lines.getvalue().removesuffix("\n").split("\n")


def _row(
    target: Target | Result, result: Result | None, tos: int, error: str | None
) -> dict[str, Any]:
    fields = targetObject(target, result, tos, error)
    icmpErrors = result.icmpErrors if result else {}
    row = {
        "host": fields.pop("host"),
        "port": fields.pop("port"),
        "source_port": result and result.sourcePort,
    }
    for name, value in fields.items():
        if isinstance(value, dict):
            row |= {f"{name}_{key}": each for key, each in value.items()}
        elif name == "icmp_errors":
            errors = [f"{count} {errorText(*key)}" for key, count in icmpErrors.items()]
            row[name] = ", ".join(errors)
        elif not isinstance(value, list):
            row[name] = value
    return row
