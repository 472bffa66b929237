"""
Parsing of command lines.
"""

from __future__ import annotations

import socket
from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

DEFAULT_PORT = 9999


class UsageError(Exception):
    """
    The command line is wrong.  The message is one line for the user.
    """


class _Version(Action):
    """
    Prints the versions, and exits.
    """

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        # Imported here, because most commands do not need the ports.
        from shout.options import versions

        print(versions())
        parser.exit()


class Parser(ArgumentParser):
    """
    A parser of options that may stand before, between and after other words.
    """

    def __init__(self, name: str, words: str, description: str, epilog: str) -> None:
        super().__init__(
            name,
            usage=f"{name} [options] {words}",
            description=description,
            epilog=epilog,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )

    def error(self, message: str) -> NoReturn:
        name, isMissing, _ = message.partition(": expected one argument")
        if isMissing:
            name = name.removeprefix("argument ")
            message = f"{name} needs a value, which cannot begin with -"
        raise UsageError(message)

    def addHelp(self) -> None:
        """
        Add the options that only print something.
        """
        version = "show the versions and the kind of UDP ports"
        self.add_argument("--version", action=_Version, nargs=0, help=version)
        self.add_argument("-h", "--help", action="help", help="show this help")

    def parseWords(
        self, arguments: Sequence[str]
    ) -> tuple[Namespace, list[str], list[str]]:
        """
        Parse the options of a command line.

        @return: The options by name; the words before C{--} that belong to no
            option, unknown options among them; the words after C{--}.

        @raise UsageError: If an option is wrong.

        @raise SystemExit: If the help or the version was printed.
        """
        words, rest = list(arguments), []
        if "--" in words:
            end = words.index("--")
            words, rest = words[:end], words[end + 1 :]
        return *self.parse_known_args(words), rest


def refuseOptions(words: Sequence[str], hint: str) -> None:
    """
    Refuse words that begin like options.

    @param hint: The end of the message.

    @raise UsageError: If there is one.
    """
    for word in words:
        # argparse takes a dash alone, and text with a space, for no option either.
        if word.startswith("-") and word != "-" and " " not in word:
            raise UsageError(f"unknown option {word!r}; --help lists the options{hint}")


def addFamilies(group: Any) -> None:
    """
    Add C{-4} and C{-6} to a parser, or to a group of its options.
    """
    families = group.add_mutually_exclusive_group()
    families.set_defaults(family=socket.AF_UNSPEC)
    for name, family in (("-4", socket.AF_INET), ("-6", socket.AF_INET6)):
        text = f"use only IPv{name[1]} addresses"
        families.add_argument(
            name, dest="family", action="store_const", const=family, help=text
        )


def addFlag(group: Any, *names: str, help: str) -> None:
    """
    Add an option without a value.
    """
    group.add_argument(*names, action="store_true", help=help)


def addNumber(
    group: Any,
    *names: str,
    kind: str = "a number",
    convert: Callable[[str], float] = int,
    low: float = 1,
    high: float,
    metavar: str = "NUMBER",
    **details: Any,
) -> None:
    """
    Add an option whose value is a number; see L{number}.

    @param names: The names of the option, the long one last.

    @param details: Keywords for C{add_argument}.
    """
    parse = number(names[-1], kind, convert, low, high)
    group.add_argument(*names, type=parse, metavar=metavar, **details)


addSeconds = partial(
    addNumber,
    kind="a number of seconds",
    convert=float,
    low=0.001,
    high=86400,
    metavar="SECONDS",
)
addPort = partial(addNumber, high=65535, metavar="PORT")


def number(
    name: str, kind: str, convert: Callable[[str], float], low: float, high: float
) -> Callable[[str], Any]:
    """
    Make a function that turns text into a number, or raises L{UsageError}.

    @param name: The name of the value, for messages.

    @param kind: The kind of number, for messages.

    @param convert: C{int} or C{float}.
    """

    def parse(text: str) -> float:
        # Only Python reads digits that are not ASCII, and underscores, as a number.
        with suppress(ValueError):
            value = convert(text)
            if low <= value <= high and text.isascii() and "_" not in text:
                return value
        limits = f"from {_plain(low)} to {_plain(high)}"
        raise UsageError(f"{name} must be {kind} {limits}, not {text!r}")

    return parse


def _plain(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".") if value < 1 else str(value)
