"""
Targets from a file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from shout.cli.usage import UsageError


def readLines(path: str) -> Iterator[tuple[str, str]]:
    """
    Read the targets of a file: one per line, with comments after C{#}.

    @param path: The path of the file, or C{-} for standard input.

    @return: The place of each target for messages, such as C{hosts.txt:3}, and the
        target.

    @raise UsageError: If the file cannot be read.
    """
    try:
        if path == "-":
            yield from _targets("standard input", sys.stdin)
        else:
            with open(path, encoding="utf-8") as file:
                yield from _targets(path, file)
    except UnicodeDecodeError:
        raise UsageError(f"--hosts {path} is not a text file in UTF-8") from None
    except OSError as e:
        raise UsageError(f"cannot read --hosts {path}: {e.strerror}") from e


def _targets(name: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        target = line.partition("#")[0].strip()
        if target:
            yield f"{name}:{number}", target
