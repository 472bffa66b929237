"""
The client of a shout server, for other programs.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred

from shout.request import (
    AskError,
    NoAnswer,
    Refused,
    RequestProtocol,
    TooLong,
    UnknownHost,
    Unreachable,
    WrongAnswer,
)
from shout.sockets.address import authority
from shout.sockets.bind import connectUDP
from shout.sockets.resolve import ResolutionError, resolve
from shout.sockets.unix import connectUNIX
from shout.udp.port import DatagramPort

__all__ = [
    "AskError",
    "Client",
    "NoAnswer",
    "Refused",
    "TooLong",
    "UnknownHost",
    "Unreachable",
    "WrongAnswer",
    "ask",
    "connect",
]


async def ask(
    datagram: bytes,
    host: str = "127.0.0.1",
    port: int = 9999,
    *,
    unix: str | None = None,
    family: int = socket.AF_UNSPEC,
    timeout: float = 1.0,
    retries: int = 2,
    transform: Callable[[bytes], bytes] = bytes.upper,
    reactor: Any = None,
) -> bytes:
    """
    Send one datagram to a shout server, and return the reply.

    @param datagram: The payload, which may be empty.

    @param host: A host name, or an IPv4 or IPv6 address.

    @param port: The UDP port, 1 to 65535.

    @param unix: The path of a UNIX socket, or its abstract name after an C{@}, to
        use instead of C{host} and C{port}.

    @param family: C{socket.AF_INET} or C{socket.AF_INET6}, to use the addresses of
        one family only.

    @param timeout: Seconds to wait for the reply to each try.  Looking up the name
        is not included.

    @param retries: The number of tries after the first.

    @param transform: The C{transform} of the server, for a subclass of
        L{Shout<shout.protocol.Shout>}; it yields the right reply.

    @param reactor: An L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider; by default the
        global one.

    @raise NoAnswer: If no reply arrived.

    @raise Refused: If nothing is listening there.

    @raise WrongAnswer: If only wrong replies arrived.

    @raise AskError: If the datagram cannot be sent: L{UnknownHost}, L{Unreachable}
        or L{TooLong}.

    @raise ValueError: If C{port}, C{timeout} or C{retries} is out of range.
    """
    client = await connect(
        host,
        port,
        unix=unix,
        family=family,
        timeout=timeout,
        retries=retries,
        transform=transform,
        reactor=reactor,
    )
    try:
        return await client.ask(datagram)
    finally:
        await client.close()


async def connect(
    host: str = "127.0.0.1",
    port: int = 9999,
    *,
    unix: str | None = None,
    family: int = socket.AF_UNSPEC,
    timeout: float = 1.0,
    retries: int = 2,
    transform: Callable[[bytes], bytes] = bytes.upper,
    onUnexpectedReply: Callable[[bytes, bytes | None], None] = lambda *reply: None,
    reactor: Any = None,
) -> Client:
    """
    Make a client for any number of requests to a shout server.  The parameters not
    described here are those of L{ask}.

    @param onUnexpectedReply: Called with the first wrong reply to each request, and
        the right one; also with each reply that arrives when no request is in
        flight, unless it is late, and C{None}.

    @raise AskError: If there is no such host or socket, or no route to it:
        L{UnknownHost}, L{Refused} or L{Unreachable}.

    @raise ValueError: If C{port}, C{timeout} or C{retries} is out of range.
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"the port must be from 1 to 65535, not {port}")
    if not (timeout > 0 and retries >= 0):
        raise ValueError(
            "the timeout must be above 0 and the retries at least 0, "
            f"not {timeout} and {retries}"
        )
    if reactor is None:
        from twisted.internet import reactor
    openers: Iterable[Callable[[], socket.socket]]
    if unix is None:
        addresses = await addressesOf(host, port, family, reactor)
        openers = [partial(connectUDP, address, port) for address in addresses]
        peer = authority(host, port)
    else:
        openers = [partial(connectUNIX, unix)]
        peer = unix
    makeProtocol = partial(
        RequestProtocol, peer, timeout, retries, transform, onUnexpectedReply, reactor
    )
    return Client(peer, openers, makeProtocol, reactor)


class Client:
    """
    A client of one server, at the first of its addresses where something listens.

    A name such as C{localhost} often has an IPv6 and an IPv4 address, and the server
    only one of them.  So until the first reply, an ICMP error moves all requests in
    flight to the next address.

    A server limits the rate of datagrams that equal their replies, such as lines of
    digits, per source port; see L{LoopGuard<shout.guard.LoopGuard>}.  So after some
    of them the client uses another source port.

    @cvar fixedPointsPerPort: The number of datagrams that equal their replies to
        send from one source port.

    @ivar peer: The server, as the user named it.
    """

    fixedPointsPerPort = 50

    def __init__(
        self,
        peer: str,
        openers: Iterable[Callable[[], socket.socket]],
        makeProtocol: Callable[[], RequestProtocol],
        reactor: Any,
    ) -> None:
        """
        @param openers: Functions that return a connected socket, one per address.

        @param makeProtocol: Called for each socket; returns its protocol.

        @raise AskError: If no socket can be connected.
        """
        self.peer = peer
        self._openers = iter(openers)
        self._makeProtocol = makeProtocol
        self._reactor = reactor
        self._ports: dict[RequestProtocol, DatagramPort] = {}
        self._closing: set[Deferred[None]] = set()
        self._fixedPoints = 0
        self._isAnswered = False
        error = self._openNext()
        if not self._ports:
            raise explain(peer, error)

    def _openNext(self) -> OSError | None:
        """
        Open a socket for the next address that can be connected to.

        @return: C{None}, or the last error if there is no such address.
        """
        error: OSError | None = None
        for opener in self._openers:
            try:
                self._open(opener)
            except OSError as e:
                error = e
            else:
                return None
        return error

    def _open(self, opener: Callable[[], socket.socket]) -> None:
        sock = opener()
        self._opener = opener
        self._protocol = self._makeProtocol()
        self._ports[self._protocol] = DatagramPort(sock, self._protocol, self._reactor)
        self._ports[self._protocol].startListening()  # type: ignore[no-untyped-call]

    async def ask(self, datagram: bytes) -> bytes:
        """
        Send one datagram, as L{shout.client.ask} does, and return the reply.  Any
        number of requests may be in flight at a time.
        """
        if self._protocol.isFixedPoint(datagram):
            self._fixedPoints += 1
            if self._fixedPoints % self.fixedPointsPerPort == 0:
                self._changePort()
        while True:
            protocol = self._protocol
            try:
                reply = await protocol.ask(datagram)
            except Refused:
                if protocol is self._protocol:
                    if not self._isAnswered:
                        self._openNext()
                    if protocol is self._protocol:
                        raise
            else:
                self._isAnswered = True
                return reply
            finally:
                if protocol is not self._protocol and protocol.isIdle:
                    self._close(protocol)

    def _changePort(self) -> None:
        former = self._protocol
        # If there are no more ports, keep this one.
        with suppress(OSError):
            self._open(self._opener)
        if former is not self._protocol and former.isIdle:
            self._close(former)

    def _close(self, protocol: RequestProtocol) -> None:
        port = self._ports.pop(protocol, None)
        if port is not None:
            closed = maybeDeferred(port.stopListening)
            self._closing.add(closed)
            closed.addCallback(lambda _: self._closing.discard(closed))

    async def close(self) -> None:
        """
        Fail the requests in flight, and close the sockets.
        """
        for protocol in list(self._ports):
            self._close(protocol)
        await gatherResults(list(self._closing))


async def addressesOf(host: str, port: int, family: int, reactor: Any) -> list[str]:
    """
    Look up the addresses of a host; see L{resolve<shout.sockets.resolve.resolve>}.

    @raise UnknownHost: If there is none.
    """
    try:
        return await resolve(host, port, family, reactor)
    except ResolutionError as e:
        raise UnknownHost(str(e)) from e


def explain(peer: str, error: OSError | None) -> AskError:
    """
    Return the error for a peer that no socket could be connected to.

    @param error: The error of the last attempt.
    """
    number = None if error is None else error.errno
    if number == errno.ENOENT:
        return Refused(f"{peer} refused: there is no such socket")
    if number == errno.ECONNREFUSED:
        return Refused(f"{peer} refused: nothing is listening there")
    # Errors of Python's own checks have no strerror.
    return Unreachable(f"cannot reach {peer}: {(error and error.strerror) or error}")
