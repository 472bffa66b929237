"""
Receiving and sending datagrams one by one.

The classes have the methods of C{BatchIO} in C{_mmsg.c}, which takes many datagrams per
system call.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Sequence
from errno import EDESTADDRREQ
from fcntl import ioctl
from struct import unpack
from termios import FIONREAD
from typing import Any, NamedTuple

from .peer import ControlMessage

# A UDP datagram has at most 65,535 bytes.
_MAX_DATAGRAM = 65535

# Bytes for the control messages of a datagram.
_CONTROL_SIZE = 256


class UDPIO:
    """
    Receives and sends on a UDP socket: by recvmsg(2) and sendmsg(2), or by recvfrom(2)
    and sendto(2) where Python lacks the former.

    @cvar maxPeers: Maximum number of peers in the table.
    """

    maxPeers = 2048

    def __init__(self, sock: socket.socket, decode: Callable[..., Any]) -> None:
        """
        @param sock: A non-blocking datagram socket.

        @param decode: Called with the address and the control messages of a datagram
            to make its peer, unless that is in the table.
        """
        self._socket = sock
        self._decode = decode
        self._peers: dict[Any, tuple[list[ControlMessage], Any]] = {}
        self._recvmsg: Callable[..., Any] = getattr(sock, "recvmsg", self._recvfrom)
        self._sendmsg: Callable[..., Any] = getattr(sock, "sendmsg", self._sendto)
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
        try:
            while True:
                datagram, control, _, address = self._recvmsg(
                    _MAX_DATAGRAM, _CONTROL_SIZE
                )
                found = self._peers.get(address)
                if found is None or found[0] != control:
                    found = self._addPeer(address, control)
                self._receivedBytes += len(datagram)
                if limit == 1:
                    return [datagram], [found[1]]
                datagrams.append(datagram)
                peers.append(found[1])
                count = len(datagrams)
                # The kernel is asked at most three times, which takes as long as the
                # exception for an empty queue.
                if count == limit or (count < 4 and not self._isReadable(0)):
                    break
        except BlockingIOError:
            pass
        except OSError as e:
            if not datagrams:
                raise
            # The next call raises it.
            self._error = e
        return (datagrams, peers) if datagrams else None

    def _addPeer(self, address: Any, control: list[ControlMessage]) -> Any:
        if len(self._peers) >= self.maxPeers:
            self._peers.clear()
        found = self._peers[address] = control, self._decode(address, control)
        return found

    def hasMore(self) -> bool:
        """
        Return C{True} if datagrams have arrived, or an error.
        """
        return self._error is not None or bool(self._isReadable(0))

    def send(self, datagrams: list[bytes], peers: list[Any], start: int) -> int:
        """
        Send datagrams until one cannot be sent.

        @param datagrams: The payloads.

        @param peers: The peer of each.

        @param start: Index of the first datagram to send.

        @return: Number of datagrams sent.

        @raise OSError: If the first one cannot be sent.
        """
        if len(datagrams) == 1:
            # Most visits find one datagram.
            peer = peers[0]
            self._sentBytes += self._sendmsg(
                datagrams, peer.ancillaryData, 0, peer.sockaddr
            )
            return 1
        index = start
        try:
            for index in range(start, len(datagrams)):
                peer = peers[index]
                self._sentBytes += self._sendmsg(
                    [datagrams[index]], peer.ancillaryData, 0, peer.sockaddr
                )
        except (OSError, TypeError):
            if index == start:
                raise
            return index - start
        return len(datagrams) - start

    def _recvfrom(self, size: int, controlSize: int) -> Any:
        datagram, address = self._socket.recvfrom(size)
        return datagram, [], 0, address

    def _sendto(self, buffers: Any, control: Any, flags: int, address: Any) -> int:
        return self._socket.sendto(buffers[0], flags, address)


class _Path(NamedTuple):
    """
    The path of a peer, with the attributes of a L{Peer<shout.udp.peer.Peer>} that
    L{UDPIO.send} reads.
    """

    sockaddr: Any
    ancillaryData: Sequence[ControlMessage] = ()


class UNIXIO(UDPIO):
    """
    Receives and sends on a UNIX socket.  A peer is the path of its socket, or C{None}.
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: A non-blocking datagram socket.
        """
        super().__init__(sock, lambda path, control: path)
        self._recvmsg, self._sendmsg = self._receiveWhole, self._sendToPath

    def send(self, datagrams: list[bytes], peers: list[Any], start: int) -> int:
        return super().send(datagrams, list(map(_Path, peers)), start)

    def _receiveWhole(self, size: int, controlSize: int) -> Any:
        # The length of the next datagram, or more; see FIONREAD in udp(7).
        (length,) = unpack("i", ioctl(self._socket, FIONREAD, bytes(4)))
        return self._socket.recvmsg(max(length, size))

    def _sendToPath(self, buffers: Any, control: Any, flags: int, path: Any) -> int:
        # Without a datagram sendmsg() raises TypeError, as for other peers.
        if path is None and buffers != [None]:
            raise OSError(EDESTADDRREQ, os.strerror(EDESTADDRREQ))
        return self._socket.sendmsg(buffers, control, flags, path)
