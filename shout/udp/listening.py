"""
Functions that start ports.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import MulticastPort

from .batched import BatchedPort, available
from .port import DEFAULT_PACKET_SIZE, DatagramPort


def listen(
    sock: socket.socket,
    protocol: DatagramProtocol,
    reactor: Any,
    maxPacketSize: int = DEFAULT_PACKET_SIZE,
) -> DatagramPort:
    """
    Run a protocol on a socket: on a L{BatchedPort} for UDP if it is available, and on
    a L{DatagramPort} otherwise.

    @param sock: A bound or connected datagram socket.  The port closes it when it
        stops listening.

    @param protocol: The protocol that receives the datagrams.

    @param reactor: An L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider.

    @param maxPacketSize: Number of bytes at which datagrams are cut.  With Twisted's
        default they arrive whole.

    @return: The port, which is listening.
    """
    port = portTypeFor(sock.family)(sock, protocol, reactor, maxPacketSize)
    port.startListening()  # type: ignore[no-untyped-call]
    return port


def listenUDP(
    port: int,
    protocol: DatagramProtocol,
    interface: str = "",
    maxPacketSize: int = DEFAULT_PACKET_SIZE,
    *,
    reactor: Any = None,
) -> DatagramPort:
    """
    Bind a UDP socket, and run a protocol on it, like L{IReactorUDP.listenUDP
    <twisted.internet.interfaces.IReactorUDP.listenUDP>}.

    @param port: The port number; 0 for a free one.

    @param protocol: The protocol that receives the datagrams.

    @param interface: The IPv4 or IPv6 address to bind to; by default every IPv4
        address.  C{"::"} is every address of both families.

    @param maxPacketSize: Number of bytes at which datagrams are cut.  With Twisted's
        default they arrive whole.

    @param reactor: The reactor; by default the global one.

    @return: The port, which is listening.

    @raise CannotListenError: If the socket cannot be bound.

    @raise InvalidAddressError: If the interface is not an IP address.
    """
    return listenMulticast(port, protocol, interface, maxPacketSize, reactor=reactor)


def listenMulticast(
    port: int,
    protocol: DatagramProtocol,
    interface: str = "",
    maxPacketSize: int = DEFAULT_PACKET_SIZE,
    listenMultiple: bool = False,
    *,
    reactor: Any = None,
) -> DatagramPort:
    """
    Do the same as L{listenUDP}, like L{IReactorMulticast.listenMulticast
    <twisted.internet.interfaces.IReactorMulticast.listenMulticast>}.

    @param listenMultiple: C{True} to let several programs bind to the same port.
    """
    if reactor is None:
        from twisted.internet import reactor as installed

        reactor = installed
    unbound = MulticastPort(
        port, protocol, interface, maxPacketSize, reactor, listenMultiple
    )
    with ExitStack() as undo:
        try:
            sock = undo.enter_context(unbound.createInternetSocket())
            sock.bind((interface, port))
        except OSError as e:
            raise CannotListenError(  # type: ignore[no-untyped-call]
                interface, port, e
            ) from e
        bound = portTypeFor(sock.family)(sock, protocol, reactor, maxPacketSize)
        bound.noisy = True
        bound.port, bound.interface = port, interface
        bound.startListening()  # type: ignore[no-untyped-call]
        undo.pop_all()
    return bound


def portTypeFor(family: int) -> type[DatagramPort]:
    """
    Return the class of the ports for sockets of an address family.
    """
    isBatched = available and family != socket.AF_UNIX
    return BatchedPort if isBatched else DatagramPort
