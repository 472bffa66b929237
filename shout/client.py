"""
Asking a shout server from other programs.
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
    Ask a shout server once.

    @param datagram: the payload to send, which may be empty.

    @param host: a name, an IPv4 address or an IPv6 address.

    @param port: the UDP port, 1 to 65535.

    @param unix: the path of a UNIX socket, or its abstract name with an C{@}
        before it, to ask there instead of at C{host} and C{port}.

    @param family: L{socket.AF_INET} or L{socket.AF_INET6}, to use the addresses
        of one family only.

    @param timeout: how long one try waits for the reply, in seconds.  To look
        up a name is not part of it.

    @param retries: how many times the datagram is sent again when no reply
        comes.

    @param transform: what the server does to a datagram, which says what the
        reply has to be; for a subclass of L{Shout<shout.protocol.Shout>} its
        C{transform}.

    @param reactor: an L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider; by default the
        global one.

    @return: the reply.

    @raise NoAnswer: when no reply came to any try.

    @raise Refused: when nothing is listening there.

    @raise WrongAnswer: when replies came, but none was right.

    @raise AskError: when it cannot be asked: L{UnknownHost}, L{Unreachable} or
        L{TooLong}.

    @raise ValueError: when C{port}, C{timeout} or C{retries} is out of range.
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
    Make a client that asks a shout server any number of times.  The parameters
    are those of L{ask}, and one more.

    @param onUnexpectedReply: called with the first wrong reply to each request and
        the reply expected; also with each reply that comes when no request is in
        flight, unless it is a late one, and L{None}.

    @raise UnknownHost: when C{host} leads to no address.

    @raise Refused: when there is no UNIX socket at C{unix}.

    @raise Unreachable: when there is no way to any of the addresses.

    @raise ValueError: when C{port}, C{timeout} or C{retries} is out of range.
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"the port must be from 1 to 65535, not {port}")
    if not (timeout > 0 and retries >= 0):
        raise ValueError("the timeout must be above 0, and the retries not below 0")
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
    Ask one server, at the first of its addresses where something listens.

    A name such as C{localhost} often has an IPv6 and an IPv4 address, and a
    server only one of them.  So as long as nothing has been answered, a refusal
    moves all that is in flight to the next address.

    A server restrains, per port of its peers, what equals the reply to it, such
    as a line of digits; see L{LoopGuard<shout.guard.LoopGuard>}.  So after some of
    those the client goes on from another port of its own.

    @cvar fixedPointsPerPort: how many datagrams that equal their replies to send
        from one port.

    @ivar peer: who is asked, as the user named it.
    @type peer: L{str}
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
        @param peer: who is asked, for messages.

        @param openers: each makes a connected socket for one address.

        @param makeProtocol: makes the protocol for one socket.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} provider.

        @raise AskError: when none of the addresses can be connected to.
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
        Go on to the next address that can be connected to.

        @return: L{None}, or when there is none the last reason why.
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
        self._asking = self._makeProtocol()
        self._ports[self._asking] = DatagramPort(sock, self._asking, self._reactor)
        self._ports[self._asking].startListening()  # type: ignore[no-untyped-call]

    async def ask(self, datagram: bytes) -> bytes:
        """
        Ask once.  There may be any number of requests at a time.

        @param datagram: the payload to send, which may be empty.

        @return: the reply.

        @raise AskError: as for L{ask}.
        """
        if self._asking.isFixedPoint(datagram):
            self._fixedPoints += 1
            if self._fixedPoints % self.fixedPointsPerPort == 0:
                self._changePort()
        while True:
            asking = self._asking
            try:
                reply = await asking.ask(datagram)
            except Refused:
                if asking is self._asking:
                    if not self._isAnswered:
                        self._openNext()
                    if asking is self._asking:
                        raise
            else:
                self._isAnswered = True
                return reply
            finally:
                if asking is not self._asking and asking.isIdle:
                    self._close(asking)

    def _changePort(self) -> None:
        former = self._asking
        # Where there are no more ports this one has to do.
        with suppress(OSError):
            self._open(self._opener)
        if former is not self._asking and former.isIdle:
            self._close(former)

    def _close(self, asking: RequestProtocol) -> None:
        port = self._ports.pop(asking, None)
        if port is not None:
            closed = maybeDeferred(port.stopListening)
            self._closing.add(closed)
            closed.addCallback(lambda _: self._closing.discard(closed))

    async def close(self) -> None:
        """
        Give up what is in flight, and close the sockets.
        """
        for asking in list(self._ports):
            self._close(asking)
        await gatherResults(list(self._closing))


async def addressesOf(host: str, port: int, family: int, reactor: Any) -> list[str]:
    """
    Look up the addresses of a host; see L{resolve}.

    @raise UnknownHost: If there is none.
    """
    try:
        return await resolve(host, port, family, reactor)
    except ResolutionError as e:
        raise UnknownHost(str(e)) from e


def explain(peer: str, error: OSError | None) -> AskError:
    """
    Return what it means that no socket could be connected to a peer.

    @param peer: who was to be asked.

    @param error: what the system said to the last attempt.
    """
    number = None if error is None else error.errno
    if number == errno.ENOENT:
        return Refused(f"{peer} refused: there is no such socket")
    if number == errno.ECONNREFUSED:
        return Refused(f"{peer} refused: nothing is listening there")
    # Python's own checks, before the system is asked, give no strerror.
    return Unreachable(f"cannot reach {peer}: {(error and error.strerror) or error}")
