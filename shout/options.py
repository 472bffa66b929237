"""
The command-line options of C{twistd shout} and C{twist shout}.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from ipaddress import ip_network
from socket import AF_INET
from typing import NoReturn

from twisted import copyright
from twisted.python.usage import Options as _Options
from twisted.python.usage import UsageError

import shout
from shout.udp.listening import portTypeFor
from shout.workers.reuseport import hasReusePortBalancing

DEFAULT_PORT = 9999

AUTO = 0
"""
Number of workers for C{--workers auto}.
"""

MAX_WORKERS = 256

_INTRODUCTION = f"""
Answers every datagram with its text in capitals. Without options it listens on
UDP port {DEFAULT_PORT} of all IPv4 and IPv6 addresses of this host.

Examples:
  twistd -n shout                          in the foreground, on all addresses
  twistd -n shout -p 4000 -i 127.0.0.1     only for programs on this host
  twistd -n shout -u /run/shout.sock       on a UNIX socket instead of UDP
  nc -u 127.0.0.1 {DEFAULT_PORT}                     send it text; or: shout hello

"""


class Options(_Options):
    """
    The options of C{twistd shout} and C{twist shout}.
    """

    synopsis = "[options]"

    # It comes first instead; see getUsage.
    longdesc = ""

    optFlags = [
        [
            "unicode",
            None,
            "Treat datagrams as UTF-8, and convert all letters to upper case, not "
            "only a to z: straße becomes STRASSE. A reply can be up to three times "
            "as long as its datagram; one that is too long for a datagram is not "
            "sent.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.docs = {name: " ".join(doc.split()) for name, doc in self.docs.items()}
        self.update(dict.fromkeys(("port", "limit", "workers", "status")))
        self.update(allow=[], interfaces=[], unix=[])
        self["copy-tos"] = False

    def opt_port(self, text: str) -> None:
        """
        The UDP port, 0 to 65535; with 0 the system selects a free one. [default: 9999]
        """
        self["port"] = _number("--port", text, 0, 65535)

    opt_p = opt_port

    def opt_interface(self, address: str) -> None:
        """
        An IPv4 or IPv6 address of this host to listen on. Can be given several
        times. [default: all addresses]
        """
        self["interfaces"].append(address)

    opt_i = opt_interface

    def opt_unix(self, path: str) -> None:
        """
        The path of a UNIX datagram socket to listen on, or @NAME for an abstract
        name. Can be given several times. Without --port and --interface, there is
        then no UDP socket.
        """
        if path not in self["unix"]:
            self["unix"].append(path)

    opt_u = opt_unix

    def opt_allow(self, text: str) -> None:
        """
        A network, such as 192.0.2.0/24 or 2001:db8::/32, that gets replies, while
        others get none. Can be given several times. [default: all networks]
        """
        try:
            if "%" in text:
                raise ValueError(f"{text!r} has a scope, which a network cannot have")
            self["allow"].append(ip_network(text))
        except ValueError as e:
            raise UsageError(
                f"--allow takes a network such as 192.0.2.0/24: {e}"
            ) from e

    def opt_limit(self, text: str) -> None:
        """
        The maximum number of replies per second to one source; twice as many can
        be sent at once. A source is an IPv4 address or the /64 of an IPv6 address.
        [default: no limit]
        """
        self["limit"] = _number("--limit", text, 1, 999_999_999)

    def opt_workers(self, text: str) -> None:
        """
        The number of worker processes that answer, or auto for one per core. A
        worker that exits is replaced. More than one needs Linux, where the kernel
        distributes datagrams to them; elsewhere auto is one. [default: none, this
        process answers]
        """
        if text == "auto":
            self["workers"] = AUTO
            return
        workers = _number("--workers", text, 1, MAX_WORKERS, ", or auto")
        if workers > 1 and not hasReusePortBalancing:
            raise UsageError(
                "--workers takes at most 1 on this system: only Linux distributes the "
                "datagrams of one UDP port to several processes"
            )
        self["workers"] = workers

    def opt_status(self, endpoint: str) -> None:
        """
        A Twisted endpoint, such as tcp:9990:interface=127.0.0.1 or
        unix:/run/shout/status, at which to serve the status over HTTP: a page for
        people, /healthz, and /metrics for Prometheus. [default: none]
        """
        self["status"] = endpoint

    def opt_copy_tos(self) -> None:
        """
        Answer each datagram with the DSCP of its type of service or traffic class,
        so that "shoutping -Q" shows where a router changes it. It needs Linux.
        """
        if sys.platform != "linux":
            raise UsageError("--copy-tos needs Linux; leave it out on this system")
        self["copy-tos"] = True

    def opt_version(self) -> NoReturn:
        """
        Show the versions and the kind of UDP ports, and exit.
        """
        print(versions())
        sys.exit(0)

    def parseArgs(self, *args: str) -> None:
        if args:
            raise UsageError(f"unexpected argument {args[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the command line.

        Under C{twistd} and C{twist} an error is one line on standard error.  By default
        they would print the complete help, and C{twistd} to standard output.
        """
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except UsageError as e:
            if self.parent is None:
                raise
            sys.exit(f"shout: {e}; --help lists the options")

    def getUsage(self, width: int | None = None) -> str:
        return _INTRODUCTION + str(super().getUsage(width))


def _number(option: str, text: str, low: int, high: int, more: str = "") -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise UsageError(
            f"{option} takes a number from {low} to {high}{more}, not {text!r}"
        )
    return int(text)


def versions() -> str:
    """
    Return the versions of shout and Twisted, and the kind of UDP ports in use.
    """
    kind = portTypeFor(AF_INET).kind
    return f"shout {shout.__version__} ({kind}, Twisted {copyright.version})"
