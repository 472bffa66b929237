"""
Targets from a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shout.cli.usage import UsageError

# A path of a UNIX socket may contain a #, too.
_COMMENT = re.compile(r"(^|\s)#.*", re.DOTALL)


def readLines(path: str, stdin: int = 0) -> Iterator[tuple[str, str]]:
    """
    Read the targets of a file: one per line, with comments after C{#}.

    @param path: The path of the file, or C{-} for standard input.

    @param stdin: The descriptor of standard input; it stays open.

    @return: The place of each target for messages, such as C{hosts.txt:3}, and the
        target.

    @raise UsageError: If the file cannot be read, or a line is wrong.
    """
    isStdin = path == "-"
    name = "standard input" if isStdin else path
    try:
        with open(stdin if isStdin else path, "rb", closefd=not isStdin) as file:
            for number, line in enumerate(file, 1):
                place = f"{name}:{number}"
                target = _targetIn(line, place)
                if target:
                    yield place, target
    except OSError as e:
        raise UsageError(f"cannot read --hosts {path}: {e.strerror}") from e


def _targetIn(line: bytes, place: str) -> str:
    """
    Return the target in a line; an empty string if there is none.
    """
    try:
        # Some editors begin a file with a byte order mark.
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{place}: not a line of text in UTF-8") from None
    target = _COMMENT.sub("", text).strip()
    if len(target.split()) > 1 and not target.startswith("unix:"):
        raise UsageError(f"{place}: {target!r} is not a target; write one per line")
    return target
