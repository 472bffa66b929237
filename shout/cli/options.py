"""
The command line of C{shout}.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from typing import NoReturn

from twisted import copyright

import shout
from shout.cli.pingoptions import addPingOptions, checkPingOptions
from shout.cli.usage import UsageError, addNumber

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "UsageError", "parse"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9999
DEFAULT_RETRIES = 2

DESCRIPTION = """\
Send text to a shout server and print what it answers: the text in capitals.
Without text, every line of standard input is sent as one datagram, typed or
piped, and each reply is printed as it comes.

  shout hello world               prints HELLO WORLD
  shout                           answers what you type; Ctrl-D ends it
  shout < lines.txt               asks about every line of a file
  shout -H example.com -p 4000 hi
  shout --ping -H example.com     measures round trips and losses
  twistd -n shout                 starts a server to ask
"""

EPILOG = """\
While it measures, Ctrl-C ends it with the figures, and Ctrl-\\ shows those so far.

The exit status is 0 when everything was answered correctly, 1 when something
was not answered, refused, or answered wrongly, and 2 when the command line is
wrong or the name of the host is unknown.  With --ping it is 0 when all is well, 1
when nothing came back or --max-loss was exceeded, 2 as above, and 3 when
something answered, but nothing of it was right.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        name, isMissing, _ = message.partition(": expected one argument")
        if isMissing:
            name = name.removeprefix("argument ")
            message = f"{name} takes a value, which does not begin with -"
        raise UsageError(message)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """
    Read a command line.

    @param arguments: the words after the name of the command.

    @return: the options by name, with C{text} being L{None} when there is none.

    @raise UsageError: when something is wrong with it.

    @raise SystemExit: when it asks for the help or the version, after that is
        printed.
    """
    parser = _Parser(
        prog="shout",
        usage="shout [options] [text ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    option = parser.add_argument
    family = parser.add_mutually_exclusive_group().add_argument
    option("text", nargs="*", help=argparse.SUPPRESS)
    option(
        "-H",
        "--host",
        dest="hosts",
        metavar="HOST",
        action="append",
        default=[],
        help=f"a name, an IPv4 or an IPv6 address [{DEFAULT_HOST}]",
    )
    addNumber(
        option,
        "-p",
        "--port",
        low=1,
        high=65535,
        help=f"the UDP port [{DEFAULT_PORT}]",
    )
    option(
        "-u",
        "--unix",
        metavar="PATH",
        help="ask at a UNIX socket instead; @NAME for an abstract one",
    )
    for name, constant in (("-4", socket.AF_INET), ("-6", socket.AF_INET6)):
        family(
            name,
            dest="family",
            action="store_const",
            const=constant,
            default=socket.AF_UNSPEC,
            help=f"use the IPv{name[1]} addresses of the host alone",
        )
    addNumber(
        option,
        "-t",
        "--timeout",
        kind="a number of seconds",
        convert=float,
        low=0.001,
        high=86400,
        metavar="SECONDS",
        default=1.0,
        help="how long to wait for a reply before trying again, or with --ping "
        "before it is late [1]",
    )
    addNumber(
        option,
        "-r",
        "--retries",
        low=0,
        high=1000,
        metavar="NUMBER",
        help=f"how many times to try again [{DEFAULT_RETRIES}]",
    )
    option(
        "--unicode",
        action="store_true",
        help="expect what a server with --unicode answers: STRASSE for straße",
    )
    option(
        "--version",
        action="version",
        version=f"shout {shout.__version__} (Twisted {copyright.version})",
        help="show the versions of shout and Twisted",
    )
    option("-h", "--help", action="help", help="show this")
    addPingOptions(parser)

    words = list(arguments)
    rest = None
    if "--" in words:
        end = words.index("--")
        words, rest = words[:end], words[end + 1 :]
    options, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        raise UsageError(
            f"unknown option {unknown[0]!r}; --help lists the options, "
            "and text that starts with - goes after --"
        )
    if options.unix is not None:
        if options.hosts or options.port or options.family:
            raise UsageError("--unix goes without --host, --port, -4 and -6")
        if not options.unix:
            raise UsageError("--unix takes a path")
    words = options.text + (rest or [])
    options.text = os.fsencode(" ".join(words)) if words else None
    checkPingOptions(options)
    if len(options.hosts) > 1 and not options.ping:
        raise UsageError("several hosts go with --ping alone; give one")
    options.hosts = options.hosts or [DEFAULT_HOST]
    options.host = options.hosts[0]
    options.port = options.port or DEFAULT_PORT
    if options.retries is None:
        options.retries = DEFAULT_RETRIES
    return options
