"""
Reading the values of options.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any


class UsageError(Exception):
    """
    The command line is wrong.  The message is one line for the user.
    """


def addNumber(
    option: Callable[..., object],
    *names: str,
    kind: str = "a number",
    convert: Callable[[str], float] = int,
    low: float,
    high: float,
    **details: Any,
) -> None:
    """
    Add an option that takes a number.

    @param option: the C{add_argument} of a parser.

    @param names: of the option, the long one last.

    @param kind: what it takes, for messages.

    @param convert: C{int} or C{float}.

    @param low: the least that is allowed.

    @param high: the most.

    @param details: for C{add_argument}.
    """
    option(*names, type=number(names[-1], kind, convert, low, high), **details)


def number(
    name: str, kind: str, convert: Callable[[str], float], low: float, high: float
) -> Callable[[str], float]:
    """
    Make what turns the value of an option into a number.

    @param name: of the option, for messages.

    @param kind: what it takes, for messages.

    @param convert: C{int} or C{float}.

    @param low: the least that is allowed.

    @param high: the most.

    @return: takes the text, and raises L{UsageError} when it is not such a
        number.
    """

    def parse(text: str) -> float:
        # What is not ASCII or has underscores is a number to Python alone.
        with suppress(ValueError):
            value = convert(text)
            if low <= value <= high and text.isascii() and "_" not in text:
                return value
        limits = f"from {_plain(low)} to {_plain(high)}"
        raise UsageError(f"{name} takes {kind} {limits}, not {text!r}")

    return parse


def _plain(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".") if value < 1 else str(value)
