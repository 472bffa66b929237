"""
Health checks: requests to the sockets of a service.
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

    @ivar problems: A line for each problem; empty if the service is healthy.

    @ivar skipped: A line for each socket that this host cannot reach at present because
        its address family is switched off.
    """

    problems: list[str]
    skipped: list[str]


@dataclass
class _Target:
    """
    A socket of the service, and the sockets that send requests to it.

    @ivar name: The address of the socket, for people.

    @ivar wildcard: The host and the port at which this host reaches a socket that is
        bound to a wildcard address; C{None} for any other socket.

    @ivar clients: The sockets that send requests.  They are connected, except to a
        wildcard address that this host could not reach yet.

    @ivar problem: The reason for which there are no clients.

    @ivar ports: The ports of the clients, from the first request on.
    """

    name: str
    wildcard: tuple[str, int] | None
    clients: list[Socket] = field(default_factory=list)
    problem: str = ""
    ports: list[DatagramPort] = field(default_factory=list)


# The clients stay open for as long as the service lives.  So no other program can have
# their addresses, and a guard can exempt these from its rules: a reply to a datagram
# with such a forged source goes to a socket that never answers.  The clients are
# connected before privileges are dropped or the root directory is changed, after which
# the path of a UNIX socket may be out of reach.  A wildcard address whose family is
# switched off cannot be connected to then.  Its clients are bound, so that their ports
# are known, and connected by the first check that finds the family switched on.
class Health:
    """
    Check that each socket of a service answers.

    @cvar tries: Number of datagrams to send before a socket counts as silent; one may
        get lost in a full receive buffer.

    @cvar timeout: Seconds to wait for a reply to each of them.

    @ivar sources: The addresses of the clients, in the form that
        L{Guard<shout.guard.Guard>} exempts.
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
        @param sockets: Bound datagram sockets, one for each address to check.  Only
            their addresses are used.

        @param sources: Number of source addresses and ports for each UDP address.  If
            several sockets share an address with C{SO_REUSEPORT}, the kernel chooses
            among them by the source, so one source does not reach them all.

        @param extraChecks: Returns a line for each further problem.

        @raise OSError: If this process may not open as many sockets (C{EMFILE}); then
            none is left open.
        """
        self._extraChecks = extraChecks
        with ExitStack() as undo:
            self._targets = [_connect(sock, sources, undo) for sock in sockets]
            undo.pop_all()
        self.sources = frozenset(
            _source(client, target)
            for target in self._targets
            for client in target.clients
        )
        self._waiting: list[Deferred[Report]] = []
        self._reactor: Any = None

    def start(self, reactor: Any) -> None:
        """
        Allow checks.

        @param reactor: An L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} and L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self._reactor = reactor

    def check(self) -> Deferred[Report]:
        """
        Send a request to each socket that this host can reach.  Calls during a check
        share its report.

        @return: Fires with the report, within C{tries * timeout} seconds.
        """
        result: Deferred[Report] = Deferred()
        self._waiting.append(result)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._checkAll()).addBoth(self._finish)
        return result

    def _finish(self, outcome: Any) -> None:
        waiting, self._waiting = self._waiting, []
        for result in waiting:
            result.callback(outcome)

    async def _checkAll(self) -> Report:
        datagram = b"shout asks itself " + secrets.token_hex(8).encode()
        checks = [
            Deferred.fromCoroutine(self._check(target, datagram))
            for target in self._targets
        ]
        problems = list(await self._extraChecks()) if self._extraChecks else []
        skipped: list[str] = []
        for report in await gatherResults(checks):
            problems += report.problems
            skipped += report.skipped
        if not problems and len(skipped) == len(self._targets):
            problems.append("no socket can be reached from this host")
        return Report(problems, skipped)

    async def _check(self, target: _Target, datagram: bytes) -> Report:
        if target.wildcard is not None:
            # The family may have been switched on or off since the last check.
            try:
                for client in target.clients:
                    client.connect(parse(*target.wildcard)[1])
            except OSError as e:
                if e.errno not in FAMILY_OFF:
                    return Report([_unreachable(target, e)], [])
                family = familyName(target.clients[0])
                line = f"{target.name} is skipped: {family} is off on this host"
                return Report([], [f"{line} ({e.strerror})"])
        if self._reactor is not None and not target.ports:
            target.ports = [self._listen(client, target) for client in target.clients]
        if not target.ports:
            return Report([target.problem or f"{target.name} is not being checked"], [])
        requests = [_request(port, datagram) for port in target.ports]
        outcomes = await gatherResults(map(Deferred.fromCoroutine, requests))
        problems = list(filter(None, outcomes))
        if problems and len(outcomes) > 1:
            count = f"{len(problems)} of {len(outcomes)} sources"
            problems = [f"{problems[0]} (from {count})"]
        return Report(problems, [])

    def _listen(self, client: Socket, target: _Target) -> DatagramPort:
        protocol = RequestProtocol(
            target.name,
            self.timeout,
            self.tries - 1,
            bytes.upper,
            lambda *reply: None,
            self._reactor,
        )
        port = DatagramPort(client, protocol, self._reactor)
        port.startListening()  # type: ignore[no-untyped-call]
        return port

    def stop(self) -> Deferred[Any]:
        """
        Close the clients.

        @return: Fires when they are closed.
        """
        closing = []
        for target in self._targets:
            for client in target.clients[len(target.ports) :]:
                client.close()
            closing += [maybeDeferred(port.stopListening) for port in target.ports]
            target.clients, target.ports = [], []
        return gatherResults(closing)


def _connect(sock: Socket, count: int, undo: ExitStack) -> _Target:
    target = _Target(describe(sock), reachedAt(sock) if isWildcard(sock) else None)
    try:
        for number in range(1 if sock.family == AF_UNIX else count):
            target.clients.append(undo.enter_context(_connectOnce(sock, number)))
    except OSError as e:
        if e.errno == errno.EMFILE:
            raise
        target.problem = _unreachable(target, e)
    return target


def _connectOnce(sock: Socket, number: int) -> Socket:
    if sock.family == AF_UNIX:
        return connectUNIX(pathOf(sock))
    host, port = reachedAt(sock)
    # All of 127.0.0.0/8 is this host, so sources can differ in more than the port.
    if number and host.startswith("127."):
        # A sandbox may forbid to bind (SocketBindDeny= of systemd) or have a single
        # address.  Then sources differ in the port alone.
        with suppress(OSError):
            return connectUDP(host, port, f"127.0.0.{1 + number}")
    try:
        return connectUDP(host, port)
    except OSError as e:
        if not isWildcard(sock) or e.errno not in FAMILY_OFF:
            raise
    client = newUDP(sock.family)
    client.bind((sock.getsockname()[0], 0))
    return client


def _source(client: Socket, target: _Target) -> Any:
    """
    Return the address of a client as the service sees it, once it is connected.
    """
    address = client.getsockname()
    if client.family == AF_UNIX:
        return address
    host, port = hostAndPort(address)
    if isWildcard(client) and target.wildcard is not None:
        # Source and destination will be the same loopback address.
        host = target.wildcard[0]
    return host, port


def _unreachable(target: _Target, error: OSError) -> str:
    return f"{target.name} cannot be reached: {error.strerror or error}"


async def _request(port: DatagramPort, datagram: bytes) -> str:
    """
    Send a request, and return the problem; an empty string if there is none.
    """
    try:
        await port.protocol.ask(datagram)
    except AskError as e:
        return str(e)
    return ""
