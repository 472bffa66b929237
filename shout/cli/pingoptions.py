"""
The command line of C{shoutping}.
"""

from __future__ import annotations

import re
import socket
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from ipaddress import IPv6Address
from typing import NamedTuple

from shout.cli.bitrate import intervalOf, parseBitrate
from shout.cli.hosts import readLines
from shout.cli.tos import parseTOS
from shout.cli.usage import (
    DEFAULT_PORT,
    Parser,
    UsageError,
    addFamilies,
    addFlag,
    addNumber,
    addPort,
    addSeconds,
    number,
    refuseOptions,
)
from shout.measure.probe import MIN_SIZE
from shout.measure.schedule import Schedule
from shout.measure.target import SocketOptions
from shout.sockets.address import ipOf
from shout.sockets.address import parse as parseAddress

_DESCRIPTION = """\
Measure whether UDP datagrams reach shout servers and come back, how long that
takes, and how many get lost.

  shoutping example.com           one datagram a second, until Ctrl-C
  shoutping -c 10 -i 0.2 example.com:4000
  shoutping 192.0.2.2 [2001:db8::2]:4000 unix:/run/shout.sock
                                  several servers side by side, with a table
  shoutping --mtu example.com     the largest datagrams, and the path MTU
  shoutping --find-rate 192.0.2.2 the highest rate without loss
"""

_EPILOG = """\
Ctrl-C or SIGTERM ends a measurement with its results, and Ctrl-\\ shows those so far.

The exit status is 0 if all is well; 1 if a server did not answer in time or cannot
be reached, or --max-loss was exceeded; 2 if the command line is wrong or a host is
unknown; and 3 if all replies of a server were wrong.
"""

# The options that searches allow.
_COMMON = {"destinations", "port", "family", "timeout", "json", "quiet"}
_COMMON |= {"interface", "ttl", "tos"}
_ALLOWED = {
    "mtu": _COMMON | {"mtu", "flows", "ports"},
    "find_rate": _COMMON | {"find_rate", "size", "flood", "df"},
}

# The options that a UNIX socket has no use for.
_UDP_ONLY = ("bitrate", "interface", "ttl", "tos", "df", "flows", "ports", "trace")

# The options that give the interval.
_PACE = ("interval", "rate", "bitrate")

MAX_FLOWS = 4096
"""
The largest number of flows.
"""

FLOOD = 1000
"""
The number of datagrams per second to other hosts that needs no C{--flood}.
"""

_INTERVAL = 1.0
_SIZE = 56
_TIMEOUT = 1.0

# A UNIX socket carries more than UDP over IPv6, but there is no use for that.
_LARGEST = 65527

_HOST_PORT = re.compile(r"(?:\[(.*)\]|([^:\[\]]*))(?::([^:]*))?", re.DOTALL)


class Destination(NamedTuple):
    """
    A server to measure, as the user named it.

    @ivar unix: The path of a UNIX socket, or its abstract name after an C{@};
        C{None} for UDP.
    """

    host: str
    port: int
    unix: str | None = None


def parse(arguments: Sequence[str]) -> Namespace:
    """
    Parse a command line.

    @param arguments: The words after the name of the command.

    @return: The options by name, and the L{Destination}s as C{destinations}.

    @raise UsageError: If the command line is wrong.

    @raise SystemExit: If the help or the version was printed.
    """
    parser = _makeParser()
    options, words, rest = parser.parseWords(arguments)
    refuseOptions(words, "")
    words += rest
    port = options.port or DEFAULT_PORT
    options.destinations = [parseDestination(word, port) for word in words]
    if options.hosts is not None:
        options.destinations += _parseHosts(options.hosts, port)
    elif not words:
        raise UsageError("no host to measure: try shoutping localhost, or --help")
    if any(each.unix for each in options.destinations):
        _checkUNIX(options)
    if options.interface is not None:
        _selectFamily(options)
    _checkPace(options)
    if options.ports and options.flows not in (None, len(options.ports)):
        raise UsageError(
            f"--flows {options.flows} does not fit --source-ports, "
            f"which has {len(options.ports)}; leave out --flows"
        )
    if options.trace and len(options.destinations) > 1:
        raise UsageError("--trace takes one host at a time")
    if options.names and not options.trace:
        raise UsageError("--names needs --trace")
    if options.trace and options.csv:
        raise UsageError("--trace cannot be used with --csv; use --json")
    for mode in filter(partial(getattr, options), _ALLOWED):
        _checkMode(mode, options)
    if options.csv and (options.json or options.json_lines):
        raise UsageError("--csv cannot be used with --json and --json-lines")
    options.json = options.json or options.json_lines
    return options


def _makeParser() -> Parser:
    parser = Parser("shoutping", "HOST[:PORT] ...", _DESCRIPTION, _EPILOG)
    count = "number of datagrams to send [no limit]"
    addNumber(parser, "-c", "--count", high=10**12, help=count)
    interval = f"time from one datagram to the next [{_INTERVAL:g}]"
    addSeconds(parser, "-i", "--interval", low=0.000001, help=interval)
    deadline = "time after which to stop, replies included"
    addSeconds(parser, "-w", "--deadline", high=10**9, help=deadline)
    addNumber(
        parser,
        "-s",
        "--size",
        kind="a number of bytes",
        low=MIN_SIZE,
        high=_LARGEST,
        metavar="BYTES",
        help=f"size of each datagram without headers [{_SIZE}]",
    )
    timeout = f"time after which a reply is late [{_TIMEOUT:g}]"
    addSeconds(parser, "-t", "--timeout", default=_TIMEOUT, help=timeout)
    addFlag(parser, "-q", "--quiet", help="print only the results")
    parser.addHelp()

    group = parser.add_argument_group("addresses")
    port = f"UDP port for hosts without :PORT [{DEFAULT_PORT}]"
    addPort(group, "-p", "--port", help=port)
    addFamilies(group)
    hosts = "file with more hosts, one per line; - for standard input"
    group.add_argument("--hosts", metavar="FILE", help=hosts)
    source = "address of this host, or network device, to send from"
    metavar = "ADDRESS|DEVICE"
    group.add_argument("-I", "--interface", metavar=metavar, help=source)

    group = parser.add_argument_group("parallel paths")
    flows = "measure from that many source ports at once"
    addNumber(group, "--flows", high=MAX_FLOWS, help=flows)
    ports = "measure from these source ports, such as 40001,40010-40019"
    group.add_argument(
        "--source-ports", metavar="PORTS", type=parsePorts, help=ports, dest="ports"
    )

    trace = "show the hops of each flow, and where the hurt ones part from the others"
    addFlag(group, "--trace", help=trace)
    addFlag(group, "--names", help="look up the names of the hops")

    group = parser.add_argument_group("searches, with one server")
    mtu = "find the largest datagrams that come back, and the path MTU"
    addFlag(group, "--mtu", help=mtu)
    addFlag(group, "--find-rate", help="find the highest rate without loss")

    group = parser.add_argument_group("rates")
    adaptive = "send as soon as the last datagram is answered, or else after -i"
    addFlag(group, "-A", "--adaptive", help=adaptive)
    addNumber(
        group,
        "--rate",
        kind="a number per second",
        convert=float,
        low=0.001,
        high=1_000_000,
        help="datagrams per second, instead of -i; 100 or more imply -q",
    )
    bitrate = "the same in bits per second of IP packets, headers included: 100M"
    group.add_argument("--bitrate", metavar="BITS", type=parseBitrate, help=bitrate)
    flood = "allow more than 1,000 datagrams per second outside the loopback"
    addFlag(group, "--flood", help=flood)

    group = parser.add_argument_group("IP headers")
    tos = "type of service to send: 0 to 255, or a DSCP name such as EF or AF41"
    group.add_argument("-Q", "--tos", metavar="TOS", type=parseTOS, help=tos)
    addNumber(group, "--ttl", high=255, help="TTL or hop limit to send")
    df = "do: set don't-fragment; dont: clear it, and fragment"
    group.add_argument("-M", "--df", metavar="do|dont", type=_parseDF, help=df)

    group = parser.add_argument_group("output")
    times = "print the time of each line, and of the start and the end"
    addFlag(group, "-D", "--timestamps", help=times)
    outstanding = "report a missing reply when the next datagram is sent"
    addFlag(group, "-O", "--outstanding", help=outstanding)

    group = parser.add_argument_group("for programs")
    addFlag(group, "--json", help="print one JSON object at the end")
    lines = "like --json, and also print one object per event"
    addFlag(group, "--json-lines", help=lines)
    csv = "print a CSV table at the end, with a row per server or flow"
    addFlag(group, "--csv", help=csv)
    addNumber(
        group,
        "--max-loss",
        kind="a percentage",
        convert=float,
        low=0,
        high=100,
        metavar="PERCENT",
        help="exit with 1 if more than that is not answered in time",
    )
    return parser


def _parseHosts(path: str, defaultPort: int) -> list[Destination]:
    destinations = []
    for place, word in readLines(path):
        try:
            destinations.append(parseDestination(word, defaultPort))
        except UsageError as e:
            raise UsageError(f"{place}: {e}") from e
    if not destinations:
        raise UsageError(f"--hosts {path} has no target; write one per line")
    return destinations


def parseDestination(text: str, defaultPort: int) -> Destination:
    """
    Parse C{HOST}, C{HOST:PORT}, C{[IPV6]:PORT} or C{unix:PATH}.  An IPv6 address
    without brackets has no port.

    @raise UsageError: If it is none of these.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise UsageError("no path after unix:; write unix:PATH or unix:@NAME")
        return Destination("", defaultPort, path)
    if _isIPv6(text):
        return Destination(text, defaultPort)
    match = _HOST_PORT.fullmatch(text)
    address, name, port = match.groups() if match else ("", "", None)
    if not match or (address is not None and not _isIPv6(address)):
        raise UsageError(
            f"{text!r} is not a target; write HOST, HOST:PORT, [IPV6-ADDRESS]:PORT "
            "or unix:PATH"
        )
    host = address or name
    if not host:
        raise UsageError(f"no host in {text!r}; write HOST or HOST:PORT")
    if host.isdigit():
        # A resolver takes it for an IPv4 address, but a user of nc means a port.
        raise UsageError(f"{host!r} is not a host; write HOST:PORT, or -p PORT")
    if port is None:
        return Destination(host, defaultPort)
    parsePort = number(f"the port in {text!r}", "a number", int, 1, 65535)
    return Destination(host, parsePort(port))


def parsePorts(text: str) -> list[int]:
    """
    Parse a list of ports and ranges of ports, such as C{40001,40010-40019}.

    @raise UsageError: If it is none, has a port twice, or has too many.
    """
    parsePort = number("each of --source-ports", "a port", int, 1, 65535)
    ports: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = parsePort(first)
        high = parsePort(last) if dash else low
        if high < low:
            raise UsageError(f"--source-ports has a range that ends too low: {part}")
        ports += range(low, high + 1)
    if len(set(ports)) < len(ports):
        raise UsageError(f"--source-ports has a port twice: {text}")
    if len(ports) > MAX_FLOWS:
        raise UsageError(f"--source-ports takes 1 to {MAX_FLOWS:,} ports, not {text}")
    return ports


def sourcePortsOf(options: Namespace) -> list[int]:
    """
    Return the source ports for some options; 0 is any port.
    """
    return options.ports or [0] * (options.flows or 1)


def socketOptionsOf(options: Namespace, isShared: bool = False) -> SocketOptions:
    """
    Return the options of sockets for some options.

    @param isShared: As for L{SocketOptions}.
    """
    interface = options.interface or ""
    ip = ipOf(interface)
    return SocketOptions(
        source="" if ip is None else str(ip),
        device=interface if ip is None else "",
        ttl=options.ttl,
        tos=options.tos,
        mayFragment=None if options.df is None else options.df == "dont",
        isShared=isShared,
    )


def _parseDF(text: str) -> str:
    if text not in ("do", "dont"):
        raise UsageError(f"--df must be do or dont, not {text!r}")
    return text


def _selectFamily(options: Namespace) -> None:
    """
    Measure only addresses of the family of the source.
    """
    interface, ip = options.interface, ipOf(options.interface)
    if not interface:
        raise UsageError("--interface takes an address or a network device")
    if ip is None:
        return
    try:
        family, _ = parseAddress(str(ip), 0)
    except ValueError as e:
        raise UsageError(f"{interface} is not an address of this host") from e
    if options.family not in (socket.AF_UNSPEC, family):
        other = "-6" if ip.version == 4 else "-4"
        raise UsageError(f"--interface {interface} cannot be used with {other}")
    options.family = family


def _checkPace(options: Namespace) -> None:
    """
    Refuse all but one of the options for the interval.
    """
    given = [name for name in _PACE if _isGiven(getattr(options, name))]
    if options.adaptive and given != ["interval"]:
        given.append("adaptive")
    if len(given) > 1:
        first, second = map(_optionName, given[:2])
        raise UsageError(f"{first} cannot be used with {second}")


def _checkUNIX(options: Namespace) -> None:
    """
    Refuse options that do not apply to UNIX sockets.
    """
    if options.family:
        raise UsageError("-4 and -6 cannot be used with unix:PATH")
    for name in _UDP_ONLY:
        if _isGiven(getattr(options, name)):
            raise UsageError(f"{_optionName(name)} cannot be used with unix:PATH")


def _isGiven(value: object) -> bool:
    # 0 is a value, too.
    return value is not None and value is not False


def _optionName(name: str) -> str:
    """
    Return the long form of an option, from its name among the parsed options.
    """
    return "--source-ports" if name == "ports" else f"--{name.replace('_', '-')}"


def _isIPv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _checkMode(mode: str, options: Namespace) -> None:
    """
    Refuse options that do not apply to a search.
    """
    name = mode.replace("_", "-")
    if len(options.destinations) > 1:
        raise UsageError(f"--{name} takes one host at a time")
    for other, value in vars(options).items():
        if _isGiven(value) and other not in _ALLOWED[mode]:
            raise UsageError(f"--{name} cannot be used with {_optionName(other)}")


def scheduleOf(options: Namespace, headers: int = 0) -> Schedule:
    """
    Return the schedule for some options.

    @param headers: Length of the IP and UDP headers of each datagram, in bytes.

    @raise UsageError: If C{--bitrate} does not fit the size.
    """
    size = options.size or _SIZE
    interval: float = options.interval or _INTERVAL
    if options.rate:
        interval = 1 / options.rate
    elif options.bitrate:
        interval = intervalOf(options.bitrate, size + headers)
    return Schedule(
        count=options.count,
        interval=interval,
        size=size,
        timeout=options.timeout,
        deadline=options.deadline,
        isAdaptive=options.adaptive,
    )
