"""
The command-line options of C{twistd shout} and C{twist shout}.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from ipaddress import ip_network
from typing import NoReturn

from twisted import copyright
from twisted.python.usage import Options as _Options
from twisted.python.usage import UsageError

import shout
from shout.workers.reuseport import hasReusePortBalancing

DEFAULT_PORT = 9999


AUTO = 0
"""
As the number of workers: as many as there is use for.
"""


MAX_WORKERS = 256


class Options(_Options):
    """
    The options of C{twistd shout} and C{twist shout}.
    """

    synopsis = "[options]"

    longdesc = (
        "Answers every datagram with its text in capitals.  Without options it "
        f"listens on UDP port {DEFAULT_PORT} of every IPv4 and IPv6 address of "
        "this host."
    )

    examples = f"""
Examples:
  twistd -n shout                          everywhere, in the foreground
  twistd -n shout -p 4000 -i 127.0.0.1     for programs on this host alone
  twistd -n shout -u /run/shout.sock       on a UNIX socket, and not on UDP
  nc -u 127.0.0.1 {DEFAULT_PORT}                     ask it; or: shout hello
"""

    optFlags = [
        [
            "unicode",
            None,
            "Treat datagrams as UTF-8, and upper-case every letter and not just "
            "a to z: straße becomes STRASSE. A reply can be up to three times "
            "as long as what was asked; one that no longer fits a datagram is not "
            "sent.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.docs = {name: " ".join(doc.split()) for name, doc in self.docs.items()}
        self["port"] = None
        self["limit"] = None
        self["workers"] = None
        self["allow"] = []
        self["interfaces"] = []
        self["unix"] = []
        self["status"] = None

    def opt_port(self, text: str) -> None:
        """
        The UDP port, 0 to 65535; 0 takes a free one. [default: 9999]
        """
        if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
            raise UsageError(f"--port takes a number from 0 to 65535, not {text!r}")
        self["port"] = int(text)

    opt_p = opt_port

    def opt_interface(self, address: str) -> None:
        """
        An IPv4 or IPv6 address of this host to listen on. Can be given several
        times. [default: all of them]
        """
        self["interfaces"].append(address)

    opt_i = opt_interface

    def opt_unix(self, path: str) -> None:
        """
        The path of a UNIX datagram socket to listen on; @NAME for an abstract
        one. Can be given several times. With it, UDP is served only where
        --port or --interface asks for it.
        """
        if path not in self["unix"]:
            self["unix"].append(path)

    opt_u = opt_unix

    def opt_allow(self, text: str) -> None:
        """
        A network, such as 192.0.2.0/24 or 2001:db8::/32, whose addresses alone
        get an answer. Can be given several times. [default: all of them]
        """
        try:
            if "%" in text:
                raise ValueError(f"{text!r} has a scope, which no network has")
            self["allow"].append(ip_network(text))
        except ValueError as e:
            raise UsageError(
                f"--allow takes a network such as 192.0.2.0/24: {e}"
            ) from e

    def opt_limit(self, text: str) -> None:
        """
        How many replies per second one source gets at most, and twice as many
        at once. A source is an IPv4 address or the /64 of an IPv6 address.
        [default: no limit]
        """
        if not re.fullmatch("[0-9]{1,9}", text) or int(text) == 0:
            raise UsageError(f"--limit takes a number of replies from 1, not {text!r}")
        self["limit"] = int(text)

    def opt_workers(self, text: str) -> None:
        """
        How many processes answer, or auto for one per core. One that ends is
        replaced. More than one takes Linux; elsewhere the kernel does not deal
        datagrams out to them, and auto is one. [default: this process alone]
        """
        if text == "auto":
            self["workers"] = AUTO
            return
        if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_WORKERS:
            raise UsageError(
                f"--workers takes a number from 1 to {MAX_WORKERS}, or auto, "
                f"not {text!r}"
            )
        if int(text) > 1 and not hasReusePortBalancing:
            raise UsageError(
                "--workers takes no more than 1 here: only Linux deals out what "
                "arrives at one UDP port to several processes"
            )
        self["workers"] = int(text)

    def opt_status(self, endpoint: str) -> None:
        """
        Where to show over HTTP how the service fares: a Twisted endpoint such as
        tcp:9990:interface=127.0.0.1 or unix:/run/shout/status. It has a page for
        people, /healthz and, for Prometheus, /metrics. [default: nowhere]
        """
        self["status"] = endpoint

    def opt_version(self) -> NoReturn:
        """
        Show the versions of shout and Twisted, and exit.
        """
        print(f"shout {shout.__version__} (Twisted {copyright.version})")
        sys.exit(0)

    def parseArgs(self, *args: str) -> None:
        """
        Take no arguments besides the options.
        """
        if args:
            raise UsageError(f"unexpected argument {args[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the command line.  Under C{twistd} and C{twist} what is wrong with
        it is one line on standard error: on their own they would print all of
        the help, and C{twistd} to standard output.
        """
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except UsageError as e:
            if self.parent is None:
                raise
            sys.exit(f"shout: {e}; --help lists the options")

    def getUsage(self, width: int | None = None) -> str:
        """
        Return the help, below the synopsis.
        """
        return str(super().getUsage(width)) + self.examples
