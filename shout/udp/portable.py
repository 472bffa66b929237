"""
Receiving and sending datagrams one by one.

The classes have the methods of C{BatchIO} in C{_mmsg.c}, which takes many datagrams per
system call.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from errno import EDESTADDRREQ
from fcntl import ioctl
from struct import unpack
from termios import FIONREAD
from typing import Any

from .peer import ControlMessage, Peer

# A UDP datagram has at most 65,535 bytes.
_MAX_DATAGRAM = 65535

# Bytes for the control messages of a datagram.
_CONTROL_SIZE = 256


class PortableIO:
    """
    The base of the classes.
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: A non-blocking datagram socket.
        """
        self._socket = sock
        self._receivedBytes = self._sentBytes = 0
        self._error: OSError | None = None
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self._isReadable = poll.poll

    def totalBytes(self) -> tuple[int, int]:
        """
        Return the number of payload bytes received, and of those sent.
        """
        return self._receivedBytes, self._sentBytes

    def receive(self, limit: int) -> tuple[list[bytes], list[Any]] | None:
        """
        Receive datagrams that have arrived.

        @param limit: Maximum number of datagrams.

        @return: The datagrams and the peer of each, or C{None} if nothing had arrived.

        @raise OSError: The error of the system call.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        datagrams: list[bytes] = []
        peers: list[Any] = []
        receiveOne = self._receiveOne
        try:
            # A single datagram is known to be there.  Of several, the kernel is asked
            # for the first three: an exception takes as long as that.
            while len(datagrams) < limit:
                if limit > 1 and len(datagrams) < 3 and not self._isReadable(0):
                    break
                datagram, peer = receiveOne()
                datagrams.append(datagram)
                peers.append(peer)
                self._receivedBytes += len(datagram)
        except BlockingIOError:
            pass
        except OSError as e:
            if not datagrams:
                raise
            # The next call raises it.
            self._error = e
        return (datagrams, peers) if datagrams else None

    def _receiveOne(self) -> tuple[bytes, Any]:
        raise NotImplementedError

    def send(self, datagrams: list[bytes], peers: list[Any], start: int) -> int:
        """
        Send datagrams until one cannot be sent.

        @param datagrams: The payloads.

        @param peers: The peer of each.

        @param start: Index of the first datagram to send.

        @return: Number of datagrams sent.

        @raise OSError: If the first one cannot be sent.
        """
        index, sendOne = start, self._sendOne
        try:
            for index in range(start, len(datagrams)):
                self._sentBytes += sendOne(datagrams[index], peers[index])
        except (OSError, TypeError):
            if index == start:
                raise
            return index - start
        return len(datagrams) - start

    def _sendOne(self, datagram: bytes, peer: Any) -> int:
        raise NotImplementedError


class UNIXIO(PortableIO):
    """
    For UNIX sockets.  A peer is the path of its socket, or C{None}.
    """

    def _receiveOne(self) -> tuple[bytes, Any]:
        # The length of the next datagram, or more; see FIONREAD in udp(7).
        (length,) = unpack("i", ioctl(self._socket, FIONREAD, bytes(4)))
        return self._socket.recvfrom(max(length, _MAX_DATAGRAM))

    def _sendOne(self, datagram: bytes, peer: Any) -> int:
        # Without a datagram sendto() raises TypeError, as for other peers.
        if peer is None and datagram is not None:
            raise OSError(EDESTADDRREQ, os.strerror(EDESTADDRREQ))
        return self._socket.sendto(datagram, peer)


class UDPIO(PortableIO):
    """
    For UDP sockets, by recvmsg(2) and sendmsg(2).

    @cvar limit: Maximum number of peers in the table.
    """

    limit = 2048

    def __init__(self, sock: socket.socket, decode: Callable[..., Peer]) -> None:
        """
        @param sock: A non-blocking UDP socket.

        @param decode: Called with the address and the control messages of a datagram
            to make its peer, unless that is in the table.
        """
        super().__init__(sock)
        self._decode = decode
        self._peers: dict[Any, tuple[list[ControlMessage], Peer]] = {}
        self._recvmsg, self._sendmsg = sock.recvmsg, sock.sendmsg

    def _receiveOne(self) -> tuple[bytes, Peer]:
        datagram, control, _, address = self._recvmsg(_MAX_DATAGRAM, _CONTROL_SIZE)
        found = self._peers.get(address)
        if found is None or found[0] != control:
            if len(self._peers) >= self.limit:
                self._peers.clear()
            found = self._peers[address] = control, self._decode(address, control)
        return datagram, found[1]

    def _sendOne(self, datagram: bytes, peer: Peer) -> int:
        return self._sendmsg([datagram], peer.ancillaryData, 0, peer.sockaddr)
