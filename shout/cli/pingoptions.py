"""
The options with which C{shout} measures.
"""

from __future__ import annotations

import argparse
from functools import partial

from shout.cli.usage import UsageError, addNumber
from shout.measure.probe import MIN_SIZE
from shout.measure.schedule import Schedule

_SIZE = 56
_INTERVAL = 1.0

# A UNIX socket carries more than UDP, but nobody is helped by a lot of it.
_LARGEST = 65527


def addPingOptions(parser: argparse.ArgumentParser) -> None:
    """
    Add the options to a parser.
    """
    option = parser.add_argument_group("measuring").add_argument
    addSeconds = partial(addNumber, option, kind="a number of seconds", convert=float)
    option(
        "--ping",
        action="store_true",
        help="send a datagram a second, measure the replies, and sum up at the end; "
        "-H may be given several times, and a reply after -t is late",
    )
    addNumber(
        option,
        "-c",
        "--count",
        low=1,
        high=10**12,
        metavar="NUMBER",
        help="stop after so many; without -c and -w, Ctrl-C does",
    )
    addSeconds(
        "-i",
        "--interval",
        low=0.000001,
        high=86400,
        metavar="SECONDS",
        help="how long there is from one datagram to the next [1]",
    )
    addNumber(
        option,
        "-s",
        "--size",
        kind="a number of bytes",
        low=MIN_SIZE,
        high=_LARGEST,
        metavar="BYTES",
        help=f"how long a datagram is, without headers [{_SIZE}]",
    )
    addSeconds(
        "-w",
        "--deadline",
        low=0.001,
        high=10**9,
        metavar="SECONDS",
        help="end after that time; the last datagram leaves in time to be answered",
    )
    option("-q", "--quiet", action="store_true", help="the figures alone")
    option("--json", action="store_true", help="print one JSON object at the end")
    option(
        "--json-lines",
        action="store_true",
        help="print one for every event as well, a line each, also with -q",
    )
    addNumber(
        option,
        "--max-loss",
        kind="a percentage",
        convert=float,
        low=0,
        high=100,
        metavar="PERCENT",
        help="exit with 1 when more than that is not answered in time",
    )
    addNumber(
        option,
        "--rate",
        kind="a number per second",
        convert=float,
        low=0.001,
        high=1_000_000,
        metavar="NUMBER",
        help="send so many per second, evenly, instead of -i; from 100 on with the "
        "figures alone, as with -q",
    )
    option(
        "--flood",
        action="store_true",
        help="allow more than 1,000 per second to other hosts than this one",
    )
    option(
        "--find-rate",
        action="store_true",
        help="instead of --ping: look for the highest rate without loss",
    )
    option(
        "--sizes",
        action="store_true",
        help="instead of --ping: look for the largest datagrams that come back, "
        "whole and unfragmented",
    )


def checkPingOptions(options: argparse.Namespace) -> None:
    """
    Refuse what does not go together, and set what was not given.

    @raise UsageError: when something does not go together.
    """
    modes = [mode for mode in ("find_rate", "sizes") if getattr(options, mode)]
    if len(modes) > 1:
        raise UsageError("--find-rate and --sizes go one at a time")
    options.ping = options.ping or bool(modes)
    given = [name for name in _NAMES if _isGiven(options, name)]
    if not options.ping:
        if given:
            raise UsageError(f"--{given[0]} goes with --ping")
        return
    if options.text:
        raise UsageError("--ping takes no text; the host to measure goes after -H")
    if options.unicode:
        raise UsageError("--ping goes without --unicode; either server answers it")
    if options.retries is not None:
        raise UsageError("--ping goes without --retries; it sends nothing again")
    if options.interval and options.rate:
        raise UsageError("--interval and --rate say the same; give one of them")
    allowed = {"find_rate": ("size", "flood"), "sizes": ()}
    for mode in modes:
        for name in given:
            if name not in (*allowed[mode], "json", "quiet"):
                option = mode.replace("_", "-")
                raise UsageError(f"--{option} goes without --{name}")
        if len(options.hosts) > 1:
            raise UsageError(f"--{mode.replace('_', '-')} takes one host at a time")
    options.json = options.json or options.json_lines


_NAMES = (
    "count",
    "interval",
    "size",
    "deadline",
    "quiet",
    "json",
    "json-lines",
    "max-loss",
    "rate",
    "flood",
)


def _isGiven(options: argparse.Namespace, name: str) -> bool:
    # A value of 0 is given, too.
    value = getattr(options, name.replace("-", "_"))
    return value is not None and value is not False


def scheduleOf(options: argparse.Namespace) -> Schedule:
    """
    Return what the options ask to measure.
    """
    interval = options.interval or _INTERVAL
    if options.rate:
        interval = 1 / options.rate
    return Schedule(
        count=options.count,
        interval=interval,
        size=options.size or _SIZE,
        timeout=options.timeout,
        deadline=options.deadline,
    )
