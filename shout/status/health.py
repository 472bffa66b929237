"""
Whether a service still answers, found out by asking it.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from socket import AF_UNIX
from socket import socket as Socket
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.python.failure import Failure

from shout.request import AskError, RequestProtocol
from shout.sockets.address import (
    describe,
    familyName,
    isWildcard,
    parse,
    pathOf,
    reachedAt,
)
from shout.sockets.bind import FAMILY_OFF, connectUDP, newUDP
from shout.sockets.unix import connectUNIX
from shout.udp.peer import hostAndPort
from shout.udp.port import DatagramPort


class Report(NamedTuple):
    """
    The outcome of a check.

    @ivar troubles: a line for each thing that is wrong; none if the service is
        healthy.

    @ivar notCounted: a line for each socket that this host cannot reach at present,
        because its address family is switched off.
    """

    troubles: list[str]
    notCounted: list[str]


@dataclass
class _Target:
    """
    A socket that is asked.

    @ivar name: its address, for people.

    @ivar wildcard: the address and the port at which this host reaches a socket
        that is bound to all addresses of a family; L{None} for any other socket.

    @ivar sockets: those that ask.  They are connected to it, except to a wildcard
        address that this host could not reach yet.

    @ivar trouble: why there are none, if that is so.

    @ivar ports: what runs on them, from the first check on.
    """

    name: str
    wildcard: tuple[str, int] | None = None
    sockets: list[Socket] = field(default_factory=list)
    trouble: str = ""
    ports: list[DatagramPort] = field(default_factory=list)

    def connect(self) -> OSError | None:
        """
        Connect to a wildcard address, for the first time or once more, because its
        family may have been switched on or off.

        @return: why it cannot be reached at present, if that is so.
        """
        if self.wildcard is not None:
            try:
                for sock in self.sockets:
                    sock.connect(parse(*self.wildcard)[1])
            except OSError as e:
                return e
        return None


# The sockets that ask are kept for as long as the service lives.  So nobody else can
# have their addresses, as long as this host has them, and a guard can be told to
# answer these whatever its rules say: a datagram that somebody forges in their name
# makes the service send to a socket that never answers.  They are connected before
# privileges are dropped or the root directory is changed, after which the path of a
# UNIX socket may be out of reach.  A wildcard address whose family is switched off
# cannot be connected to then; the socket that is to ask it is bound, so that its port
# is known, and connected by the first check that finds the family switched on.
class Health:
    """
    Ask each socket of a service whether it answers.

    @cvar tries: how many datagrams to send before a socket is given up; one may
        get lost in a receive buffer that is full.

    @cvar timeout: how long to wait for an answer to each, in seconds.

    @ivar sources: the addresses that it asks from, in the form in which a guard
        is given them.
    @type sources: L{frozenset}
    """

    tries = 4
    timeout = 0.25

    def __init__(
        self,
        sockets: Iterable[Socket],
        sources: int = 1,
        extraChecks: Callable[[], Awaitable[list[str]]] | None = None,
    ) -> None:
        """
        @param sockets: bound datagram sockets, one for each address to ask;
            their addresses are looked at now and the sockets not kept.

        @param sources: from how many places to ask each UDP address: ports and,
            where the system has a choice of them, addresses.  Where several sockets
            share an address with C{SO_REUSEPORT}, the system chooses among them by
            the source, so that it takes more than one to reach them all.

        @param also: returns what else is wrong, in lines.

        @raise OSError: when this process may not open so many sockets (C{EMFILE});
            then none is left open.
        """
        self._extraChecks = extraChecks
        with ExitStack() as undo:
            self._targets = [_connect(sock, sources, undo) for sock in sockets]
            undo.pop_all()
        self.sources = frozenset(
            _source(sock, target) for target in self._targets for sock in target.sockets
        )
        self._waiting: list[Deferred[Report]] = []
        self._reactor: Any = None

    def start(self, reactor: Any) -> None:
        """
        Be ready to ask.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} and L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self._reactor = reactor

    def check(self) -> Deferred[Report]:
        """
        Ask all sockets that this host can reach.  All who call it while a check is
        under way get the same report.

        @return: fires with the report, within C{tries * timeout} seconds.
        """
        result: Deferred[Report] = Deferred()
        self._waiting.append(result)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._askAll()).addBoth(self._tell)
        return result

    def _tell(self, outcome: Any) -> None:
        waiting, self._waiting = self._waiting, []
        for result in waiting:
            result.callback(outcome)

    async def _askAll(self) -> Report:
        datagram = b"shout asks itself " + secrets.token_hex(8).encode()
        report = Report([], [])
        asked = []
        for target in self._targets:
            error = target.connect()
            if error is None:
                asked.append((target, self._ask(target, datagram)))
            elif error.errno in FAMILY_OFF:
                family = familyName(target.sockets[0])
                report.notCounted.append(
                    f"{target.name} is not counted: {family} is off on this host "
                    f"({error.strerror})"
                )
            else:
                report.troubles.append(_cannotBeAsked(target, error))
        if self._extraChecks:
            report.troubles.extend(await self._extraChecks())
        for target, answers in asked:
            troubles = list(filter(None, await gatherResults(answers)))
            if not answers:
                line = target.trouble or f"{target.name} is not being asked"
                report.troubles.append(line)
            elif troubles and len(answers) > 1:
                count = f"{len(troubles)} of {len(answers)} sources"
                report.troubles.append(f"{troubles[0]} (from {count})")
            else:
                report.troubles.extend(troubles)
        if not (asked or report.troubles):
            report.troubles.append("no socket can be reached from this host")
        return report

    def _ask(self, target: _Target, datagram: bytes) -> list[Deferred[Any]]:
        """
        Ask one socket, from all that ask it.

        @return: each fires with what is wrong, or with an empty string.
        """
        if self._reactor is not None:
            for sock in target.sockets[len(target.ports) :]:
                asking = RequestProtocol(
                    target.name,
                    self.timeout,
                    self.tries - 1,
                    bytes.upper,
                    lambda *reply: None,
                    self._reactor,
                )
                port = DatagramPort(sock, asking, self._reactor)
                port.startListening()  # type: ignore[no-untyped-call]
                target.ports.append(port)
        return [_ask(port, datagram) for port in target.ports]

    def stop(self) -> Deferred[Any]:
        """
        Close the sockets.

        @return: fires when they are closed.
        """
        closing = []
        for target in self._targets:
            for sock in target.sockets[len(target.ports) :]:
                sock.close()
            closing += [maybeDeferred(port.stopListening) for port in target.ports]
            target.sockets, target.ports = [], []
        return gatherResults(closing)


def _connect(sock: Socket, count: int, undo: ExitStack) -> _Target:
    target = _Target(describe(sock))
    if isWildcard(sock):
        target.wildcard = reachedAt(sock)
    try:
        for number in range(1 if sock.family == AF_UNIX else count):
            target.sockets.append(undo.enter_context(_connectOnce(sock, number)))
    except OSError as e:
        if e.errno == errno.EMFILE:
            raise
        target.trouble = _cannotBeAsked(target, e)
    return target


def _connectOnce(sock: Socket, number: int) -> Socket:
    if sock.family == AF_UNIX:
        return connectUNIX(pathOf(sock))
    host, port = reachedAt(sock)
    # All of 127.0.0.0/8 is this host, where there are several sources at all.
    if number and host.startswith("127."):
        # A sandbox may have a word against binding, as SocketBindDeny= of systemd, or
        # no more than one address; and a port may do as well as an address.
        with suppress(OSError):
            return connectUDP(host, port, f"127.0.0.{1 + number}")
    try:
        return connectUDP(host, port)
    except OSError as e:
        if not isWildcard(sock) or e.errno not in FAMILY_OFF:
            raise
    later = newUDP(sock.family)
    later.bind((sock.getsockname()[0], 0))
    return later


def _source(sock: Socket, target: _Target) -> Any:
    """
    Return the address of a socket as its peers see it, once it is connected.
    """
    address = sock.getsockname()
    if sock.family == AF_UNIX:
        return address
    host, port = hostAndPort(address)
    if isWildcard(sock) and target.wildcard is not None:
        # The loopback address from which it will ask is the one that it asks.
        host = target.wildcard[0]
    return host, port


def _cannotBeAsked(target: _Target, error: OSError) -> str:
    return f"{target.name} cannot be asked: {error.strerror or error}"


def _ask(port: DatagramPort, datagram: bytes) -> Deferred[Any]:
    """
    Ask from one port.

    @return: fires with what is wrong, or with an empty string.
    """

    def explain(failure: Failure) -> str:
        failure.trap(AskError)
        return str(failure.value)

    answer: Deferred[Any] = port.protocol.ask(datagram)
    return answer.addCallbacks(lambda reply: "", explain)
