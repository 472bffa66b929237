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
from .sockopt import RECEIVE_BUFFER, kernelDrops, kernelDropsSince, raiseReceiveBuffer


# On a connected socket, an ICMP error makes a poll or epoll reactor close the port as
# if the connection were lost.  It calls readConnectionLost first if the port provides
# IHalfCloseableDescriptor; that clears the error and starts reading again.
@implementer(IHalfCloseableDescriptor)
class DatagramPort(Port):
    """
    A port for an existing datagram socket: IPv4, IPv6 or UNIX, bound or connected.
    Datagrams arrive whole, a visit by the reactor reads a bounded number of them,
    and a connected port survives ICMP errors.

    @cvar maxDatagrams: Maximum number of datagrams per visit by the reactor.

    @cvar receiveBuffer: Bytes of receive buffer to request from the system.

    @ivar peerError: The last ICMP error on a connected port, such as a
        C{ConnectionRefusedError} for port unreachable.
    """

    _log = Logger()

    maxDatagrams = 64
    receiveBuffer = RECEIVE_BUFFER

    peerError: OSError | None = None

    socket: Socket
    _connectedAddr: Any

    # The length field of a UDP header has 16 bits and includes the header's 8 bytes
    # (RFC 768).  A datagram on a UNIX socket is limited by the sender's buffer only.
    _maxLength = 65527

    def __init__(self, sock: Socket, protocol: DatagramProtocol, reactor: Any):
        """
        @param sock: A bound or connected datagram socket.  The port makes it
            non-blocking, and closes it when it stops listening.

        @param protocol: The protocol.  It receives each datagram with the host and
            the port of the peer, or with the path of its UNIX socket.  A link-local
            IPv6 host includes its scope, as in C{fe80::1%eth0}.

        @param reactor: An L{IReactorFDSet
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
        self._initialDrops = kernelDrops(self.socket)
        host = self.socket.getsockname()
        isUNIX = self.addressFamily == AF_UNIX
        self._realPortNumber = host if isUNIX else host[1]
        try:
            peer = self.socket.getpeername()
        except OSError:
            return
        self._connectedAddr = peer if isUNIX else peer[:2]

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        address = self.socket.getsockname()
        if self.addressFamily == AF_UNIX:
            return UNIXAddress(os.fsencode(address))
        if self.addressFamily == AF_INET6:
            return IPv6Address("UDP", *address)
        return IPv4Address("UDP", *address)

    @property
    def kernelDrops(self) -> int:
        """
        The number of datagrams that the kernel has dropped since the port started
        because the receive buffer was full; 0 on systems other than Linux.
        A lower bound: the kernel counts a coalesced burst (C{UDP_GRO}) as one.
        """
        if self.connected:
            self._kernelDrops = kernelDropsSince(self.socket, self._initialDrops)
        return self._kernelDrops

    def totalBytes(self) -> tuple[int, int]:
        """
        Return the number of payload bytes received, and of those sent.
        """
        return self._receivedBytes, self._sentBytes

    def doRead(self) -> None:
        self._read(self.maxDatagrams)

    def drain(self) -> None:
        """
        Deliver all datagrams in the receive buffer.

        It ends although more arrive meanwhile: after one datagram per 512 bytes of
        the buffer.  Even an empty datagram occupies more than that.
        """
        left = self.socket.getsockopt(SOL_SOCKET, SO_RCVBUF) // 512
        while self.connected and left > 0:
            count = self._read(left)
            if not count:
                return
            left -= count

    def _read(self, maxDatagrams: int) -> int:
        """
        Receive and deliver datagrams.

        @return: The number of datagrams and errors; 0 if nothing had arrived.
        """
        count = 0
        while count < maxDatagrams and self.connected:
            try:
                datagram, addr = self._receive()
            except BlockingIOError:
                break
            except OSError as e:
                self._handlePeerError(e)
            else:
                try:
                    self.protocol.datagramReceived(datagram, addr)
                except BaseException:
                    self._log.failure("datagramReceived raised")
            count += 1
        return count

    def _receive(self) -> tuple[bytes, Any]:
        length = self._maxLength
        if self.addressFamily == AF_UNIX:
            # The length of the next datagram, or more; see FIONREAD in udp(7).
            (pending,) = unpack("i", ioctl(self.socket, FIONREAD, bytes(4)))
            length = max(length, pending)
        datagram, addr = self.socket.recvfrom(length)
        self._receivedBytes += len(datagram)
        if self.addressFamily == AF_INET6:
            addr = hostAndPort(addr)
        return datagram, addr

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram.

        @param datagram: The payload.

        @param addr: The peer: a host and a port, or the path of a UNIX socket;
            C{None} on a connected port.

        @raise MessageLengthError: If the datagram is too long for the socket or for
            the path.

        @raise OSError: If the system cannot send it, or if the UNIX socket of the
            peer has no path.
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

    def _handlePeerError(self, error: OSError) -> None:
        # On an unconnected socket a pending ICMP error may be about any peer, so it
        # is ignored.
        if self._connectedAddr:
            self.peerError = error
            try:
                self.protocol.connectionRefused()
            except BaseException:
                self._log.failure("connectionRefused raised")

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Called when the socket has a pending error.  The port stays open.
        """
        number = self.socket.getsockopt(SOL_SOCKET, SO_ERROR)
        self.startReading()  # type: ignore[no-untyped-call]
        self._handlePeerError(OSError(number, os.strerror(number)))

    def writeConnectionLost(self, reason: Failure) -> None:
        # A datagram socket has no half to close.
        pass

    # Unlike Twisted's, it does not log a line per port.
    def connectionLost(self, reason: Failure | None = None) -> None:
        # The counter is gone with the socket.
        self._kernelDrops = self.kernelDrops
        BasePort.connectionLost(self, reason)  # type: ignore[no-untyped-call]
        self.protocol.doStop()
        self.socket.close()
        if hasattr(self, "d"):
            self.d.callback(None)
