"""
From the command line of C{twistd shout} to a service.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_network
from socket import socket
from typing import Any, NoReturn

from twisted import copyright
from twisted.application.service import MultiService, Service
from twisted.python.usage import Options as _Options
from twisted.python.usage import UsageError

import shout
from shout.addresses import describe, example, familyName, isWildcard, reachedAt
from shout.guard import Guard, Limit
from shout.notify import Notifier
from shout.opening import AUTO, DEFAULT_PORT, openSockets
from shout.processes.sharing import Share, canShare
from shout.processes.workers import WorkersService
from shout.protocol import Shout, UnicodeShout
from shout.service import ShoutService
from shout.sockets import FAMILY_OFF, BindError, connectUDP
from shout.sources import Allow, SourceRule, neverAsks
from shout.web.health import Health

MOST_WORKERS = 256


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
        if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MOST_WORKERS:
            raise UsageError(
                f"--workers takes a number from 1 to {MOST_WORKERS}, or auto, "
                f"not {text!r}"
            )
        if int(text) > 1 and not canShare:
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


def makeService(
    options: Options, reactor: Any = None
) -> ShoutService | WorkersService | MultiService:
    """
    Bind the sockets, or take those that systemd hands over, and make the service
    that answers at them.

    That happens here, before C{twistd} daemonizes and sheds privileges, so that
    what is wrong is said where the user sees it.

    @return: that service; with C{--status}, and where systemd wants to be told how
        it fares, together with one more for each.

    @raise SystemExit: when one of the addresses cannot be listened on.
    """
    try:
        shares = openSockets(options)
    except BindError as e:
        sys.exit(f"shout: {e}")
    if options["interfaces"]:
        _warnUnreachable(shares[0])
    guard = _guard(options)
    answer = partial(UnicodeShout if options["unicode"] else Shout, guard)
    service: ShoutService | WorkersService
    if options["workers"] is None:
        service = ShoutService(shares[0], answer, reactor)
    else:
        service = WorkersService(shares, answer, reactor)
    beside: list[Service] = []
    if options["status"] is not None:
        beside.append(_status(service, shares, guard, options["status"], reactor))
    notifier = Notifier.fromEnvironment(service, reactor)
    if notifier is not None:
        beside.append(notifier)
    if not beside:
        return service
    services = MultiService()
    for each in service, *beside:
        each.setServiceParent(services)
    return services


def _warnUnreachable(sockets: Sequence[socket]) -> None:
    """
    Print a warning for each wildcard address whose family is switched off.
    """
    for sock in sockets:
        if not isWildcard(sock):
            continue
        try:
            connectUDP(*reachedAt(sock)).close()
        except OSError as e:
            if e.errno in FAMILY_OFF:
                family = familyName(sock)
                print(
                    f"shout: warning: {describe(sock)} gets no datagrams as long as "
                    f"{family} is off on this host; switch {family} on, or omit this "
                    "--interface",
                    file=sys.stderr,
                )


def _status(
    service: ShoutService | WorkersService,
    shares: Sequence[Share],
    guard: Guard,
    endpoint: str,
    reactor: Any,
) -> Service:
    with ExitStack() as undo:
        undo.callback(service.stopService)
        try:
            health = _health(service, shares)
            undo.callback(health.stop)
            if reactor is None:
                from twisted.internet import reactor
            from shout.web.service import StatusService

            status = StatusService(endpoint, service.figures, health, reactor)
        except BindError as e:
            sys.exit(f"shout: --status: {e}")
        except ModuleNotFoundError as e:
            command = f"{sys.executable} -m pip install {e.name}"
            sys.exit(f"shout: --status needs {e.name}; get it with: {command}")
        except OSError as e:
            if e.errno != errno.EMFILE:
                raise
            sys.exit(
                "shout: --status takes more descriptors than this process may have; "
                "allow it more with ulimit -n, or with LimitNOFILE= in a unit"
            )
        guard.exempt.update(health.sources)
        undo.pop_all()
    return status


def _health(service: ShoutService | WorkersService, shares: Sequence[Share]) -> Health:
    # One of those that share an address does for all of them.
    sockets = {
        (describe(sock), example(sock)): sock for share in shares for sock in share
    }.values()
    if isinstance(service, ShoutService):
        return Health(sockets)
    # From so many places that datagrams reach most workers, if not all, and from no
    # more in all than leaves most of the 1,024 descriptors that are usual.
    sources = min(8 * len(shares), 64, 256 // len(sockets)) if len(shares) > 1 else 1
    return Health(sockets, max(sources, 1), service.missing)


def _guard(options: Options) -> Guard:
    sources: list[SourceRule] = [neverAsks]
    if options["allow"]:
        sources.append(Allow(options["allow"]))
    limits = [] if options["limit"] is None else [Limit(options["limit"])]
    return Guard(sources, rules=limits)
