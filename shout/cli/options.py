"""
The command line of C{shout}.
"""

from __future__ import annotations

import os
import re
import socket
from argparse import Namespace
from collections.abc import Sequence
from shlex import join

from shout.cli.usage import (
    DEFAULT_PORT,
    Parser,
    UsageError,
    addFamilies,
    addFlag,
    addNumber,
    addPort,
    addSeconds,
    refuseOptions,
)
from shout.sockets.address import authority

DEFAULT_HOST = "127.0.0.1"
_TIMEOUT = 1.0

_DESCRIPTION = """\
Send text to a shout server and print the reply: the text in capitals.
Without text, each line of standard input is sent as one datagram, and each reply
is printed as soon as it arrives.

  shout hello world               prints HELLO WORLD
  shout                           sends the lines that you type; Ctrl-D ends it
  shout < lines.txt               sends the lines of a file
  shout -H example.com -p 4000 hi asks a server on another host
  shoutping example.com           measures round trips and losses
  twistd -n shout                 starts a server
"""

_EPILOG = """\
The exit status is 0 if every datagram got the right reply; 1 if one got none or
only wrong ones, or the server cannot be reached; and 2 if the command line is
wrong or the host is unknown.
"""

# The options of shoutping, by their former names: once they were options of shout.
_MEASURING = re.compile(
    "--(ping|sizes|mtu|find-rate|count|interval|size|deadline|quiet|json|json-lines"
    "|max-loss|rate|flood)(=.*)?|-[ciswq].*"
)

# Those of them that a value follows.
_VALUED = re.compile("--(count|interval|size|deadline|max-loss|rate)|-[cisw]")


def parse(arguments: Sequence[str]) -> Namespace:
    """
    Parse a command line.

    @param arguments: The words after the name of the command.

    @return: The options by name; C{text} is C{None} if there is no text.

    @raise UsageError: If the command line is wrong.

    @raise SystemExit: If the help or the version was printed.
    """
    parser = Parser("shout", "[TEXT ...]", _DESCRIPTION, _EPILOG)
    parser.add_argument(
        "-H",
        "--host",
        dest="hosts",
        metavar="HOST",
        action="append",
        default=[],
        help=f"host name, IPv4 or IPv6 address [{DEFAULT_HOST}]",
    )
    addPort(parser, "-p", "--port", help=f"UDP port [{DEFAULT_PORT}]")
    unix = "path of a UNIX socket to ask instead, or @NAME for an abstract one"
    parser.add_argument("-u", "--unix", metavar="PATH", help=unix)
    addFamilies(parser)
    timeout = f"time to wait for a reply before the next try [{_TIMEOUT:g}]"
    addSeconds(parser, "-t", "--timeout", default=_TIMEOUT, help=timeout)
    tries = "number of tries after the first [2]"
    addNumber(parser, "-r", "--retries", low=0, high=1000, default=2, help=tries)
    unicode = "expect the replies of a server with --unicode: STRASSE for straße"
    addFlag(parser, "--unicode", help=unicode)
    parser.addHelp()
    options, words, rest = parser.parseWords(arguments)
    if any(map(_MEASURING.fullmatch, words)):
        command = join(_pingCommand(options, words))
        raise UsageError(f"use shoutping to measure: {command}")
    refuseOptions(words, ", and text that starts with - goes after --")
    if options.unix is not None:
        if options.hosts or options.port or options.family:
            raise UsageError("--unix cannot be used with --host, --port, -4 and -6")
        if not options.unix:
            raise UsageError("--unix takes a path")
    if len(options.hosts) > 1:
        raise UsageError("--host was given several times; give one host")
    words += rest
    options.text = os.fsencode(" ".join(words)) if words else None
    (options.host,) = options.hosts or [DEFAULT_HOST]
    options.port = options.port or DEFAULT_PORT
    return options


def _pingCommand(options: Namespace, words: Sequence[str]) -> list[str]:
    """
    Return the C{shoutping} command for a command line that measured once.

    @param words: The words that are no options of C{shout}.
    """
    targets = options.hosts or [DEFAULT_HOST]
    if options.unix:
        targets = [f"unix:{options.unix}"]
    elif options.port:
        targets = [authority(host, options.port) for host in targets]
    command = ["shoutping", *targets]
    if options.family:
        command.append("-4" if options.family == socket.AF_INET else "-6")
    if options.timeout != _TIMEOUT:
        command += ["-t", f"{options.timeout:g}"]
    # Text is left out: in the new command it would be a host.
    command += [
        "--mtu" if word == "--sizes" else word
        for previous, word in zip(["", *words], words)
        if word.startswith("-") or _VALUED.fullmatch(previous)
    ]
    return [word for word in command if word != "--ping"]
