"""
Twisted's UDP port, for sockets that are already bound or connected.
"""

from __future__ import annotations

import os
from errno import EDESTADDRREQ, EMSGSIZE
from fcntl import ioctl
from socket import AF_INET6, AF_UNIX, SO_ERROR, SO_RCVBUF, SOL_SOCKET
from socket import socket as Socket
from struct import unpack
from termios import FIONREAD
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.base import BasePort
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .peer import hostAndPort
from .sockopt import (
    RECEIVE_BUFFER,
    kernelDrops,
    kernelDropsSince,
    raiseReceiveBuffer,
)


# A poll or epoll reactor takes the error that an ICMP message leaves on a
# connected socket for the end of the connection, and closes the port.  Only a
# port that can be half-closed is told first, and can read the error instead.
@implementer(IHalfCloseableDescriptor)
class DatagramPort(Port):
    """
    A port for a datagram socket made elsewhere: IPv4, IPv6 or UNIX, bound or
    connected.  Datagrams arrive whole, a visit by the reactor takes a bounded
    number of them, and a connected port survives a refusal.

    @cvar maxDatagrams: how many datagrams one visit by the reactor takes.

    @cvar receiveBuffer: how many bytes of receive buffer to ask the system for.

    @ivar refusal: on a connected port, why the peer has last refused: usually
        L{ConnectionRefusedError}, from an ICMP port unreachable.
    @type refusal: L{OSError} or L{None}
    """

    _log = Logger()

    maxDatagrams = 64
    receiveBuffer = RECEIVE_BUFFER

    peerError: OSError | None = None

    socket: Socket
    _connectedAddr: Any

    # The length field of a UDP header has 16 bits, and counts its 8 bytes, too (RFC
    # 768).  What a UNIX socket carries is bounded by the sender's buffer instead.
    _maxLength = 65527

    def __init__(self, sock: Socket, protocol: DatagramProtocol, reactor: Any):
        """
        @param sock: a bound or connected datagram socket, which is made not to
            block; the port closes it.

        @param protocol: receives the datagrams, each with its peer's host and
            port, or the name of its UNIX socket, and, when the socket is
            connected, the refusals.  A link-local IPv6 host has its scope with
            it, as in C{fe80::1%eth0}.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} provider.
        """
        super().__init__(None, protocol, reactor=reactor)  # type: ignore[no-untyped-call]
        self.addressFamily = sock.family
        self._receivedBytes = self._sentBytes = self._kernelDrops = 0
        self.socket = sock

    def _bindSocket(self) -> None:
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.connected = True
        self.socket.setblocking(False)
        raiseReceiveBuffer(self.socket, self.receiveBuffer)
        self._dropsBefore = kernelDrops(self.socket)
        host = self.socket.getsockname()
        isUNIX = self.addressFamily == AF_UNIX
        self._realPortNumber = host if isUNIX else host[1]
        try:
            peer = self.socket.getpeername()
        except OSError:
            return
        self._connectedAddr = peer if isUNIX else peer[:2]

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """
        Return the local address.
        """
        address = self.socket.getsockname()
        if self.addressFamily == AF_UNIX:
            return UNIXAddress(os.fsencode(address))
        if self.addressFamily == AF_INET6:
            return IPv6Address("UDP", *address)
        return IPv4Address("UDP", *address)

    @property
    def kernelDrops(self) -> int:
        """
        How many datagrams the kernel has dropped since the port was made because
        the receive buffer was full; always 0 where the system does not tell.

        At least so many: of a burst that came in one piece the kernel counts one.
        """
        if self.connected:
            self._kernelDrops = kernelDropsSince(self.socket, self._dropsBefore)
        return self._kernelDrops

    def totalBytes(self) -> tuple[int, int]:
        """
        Return how many bytes of payload have arrived, and how many were sent.
        """
        return self._receivedBytes, self._sentBytes

    def doRead(self) -> None:
        """
        Deliver what has arrived, as far as one visit goes.
        """
        self._read(self.maxDatagrams)

    def drain(self) -> None:
        """
        Deliver what has arrived, but not what goes on arriving: at most one
        datagram for every 512 bytes of the receive buffer.  Even an empty one
        takes more than that.
        """
        left = self.socket.getsockopt(SOL_SOCKET, SO_RCVBUF) // 512
        while self.connected and left > 0:
            taken = self._read(left)
            if not taken:
                return
            left -= taken

    def _read(self, maxDatagrams: int) -> int:
        """
        Deliver some of what has arrived.

        @return: how many datagrams, an error counted as one; 0 when nothing had
            arrived.
        """
        taken = 0
        while taken < maxDatagrams and self.connected:
            try:
                datagram, addr = self._receive()
            except BlockingIOError:
                break
            except OSError as e:
                self._peerFailed(e)
            else:
                try:
                    self.protocol.datagramReceived(datagram, addr)
                except BaseException:
                    self._log.failure("datagramReceived raised")
            taken += 1
        return taken

    def _receive(self) -> tuple[bytes, Any]:
        length = self._maxLength
        if self.addressFamily == AF_UNIX:
            length = max(length, _nextLength(self.socket))
        datagram, addr = self.socket.recvfrom(length)
        self._receivedBytes += len(datagram)
        if self.addressFamily == AF_INET6:
            addr = hostAndPort(addr)
        return datagram, addr

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram.

        @param datagram: the payload.

        @param addr: the peer: a host and a port, or the path of a UNIX socket;
            L{None} on a connected port.

        @raise MessageLengthError: when the datagram is larger than the socket
            or the way to the peer can carry.

        @raise OSError: when the system refuses to send it, or the peer has no
            name.
        """
        if self._connectedAddr or self.addressFamily != AF_UNIX:
            super().write(datagram, addr)
            self._sentBytes += len(datagram)
            return
        if addr is None:
            raise OSError(EDESTADDRREQ, os.strerror(EDESTADDRREQ))
        try:
            self._sentBytes += self.socket.sendto(datagram, addr)
        except OSError as e:
            if e.errno == EMSGSIZE:
                raise MessageLengthError("message too long") from e
            raise

    def _peerFailed(self, error: OSError) -> None:
        # What a peer that is not connected does to others is nobody's business.
        if self._connectedAddr:
            self.peerError = error
            try:
                self.protocol.connectionRefused()
            except BaseException:
                self._log.failure("connectionRefused raised")

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Go on after an error that the peer or the network has caused.
        """
        number = self.socket.getsockopt(SOL_SOCKET, SO_ERROR)
        self.startReading()  # type: ignore[no-untyped-call]
        self._peerFailed(OSError(number, os.strerror(number)))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Close the socket, without a line in the log for each.
        """
        # The socket cannot say it later.
        self._kernelDrops = self.kernelDrops
        BasePort.connectionLost(self, reason)  # type: ignore[no-untyped-call]
        self.protocol.doStop()
        self.socket.close()
        if hasattr(self, "d"):
            self.d.callback(None)

    def writeConnectionLost(self, reason: Failure) -> None:
        """
        Do nothing: a datagram socket has no half to close.
        """


def _nextLength(sock: Socket) -> int:
    """
    Return the length of the next datagram, or more; see C{FIONREAD} in udp(7).
    """
    length: int
    (length,) = unpack("i", ioctl(sock, FIONREAD, bytes(4)))
    return length
