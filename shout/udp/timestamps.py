"""
The kernel's timestamps of received datagrams.

Linux takes the time when a datagram arrives, so a busy process does not distort it;
see C{SO_TIMESTAMPNS} in socket(7).
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from struct import Struct
from typing import NamedTuple

# From asm-generic/socket.h, linux/in.h and linux/in6.h; Python does not have them.
_SO_TIMESTAMPNS = 35
_RECVFRAGSIZE = {
    socket.AF_INET: (socket.IPPROTO_IP, 25),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 77),
}

# struct timespec: seconds and nanoseconds.
_TIMESPEC = Struct("ll")

# A UDP datagram has at most 65,535 bytes, one on a UNIX socket as many as this or less
# with the usual send buffer.
_MAX_DATAGRAM = 262144
_CONTROL_SIZE = 256


class IPHeader(NamedTuple):
    """
    What the IP header of a received datagram has said.
    """

    ttl: int | None = None
    tos: int | None = None
    isFragmented: bool = False


def enableTimestamps(sock: socket.socket) -> bool:
    """
    Make the kernel pass on a timestamp with each datagram, and the size of fragments.

    @return: C{True} if there will be timestamps.
    """
    if sys.platform != "linux" or sock.family not in _RECVFRAGSIZE:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    with suppress(OSError):
        sock.setsockopt(*_RECVFRAGSIZE[sock.family], 1)
    return True


class TimedIO:
    """
    Receives datagrams with their times one by one, and sends them.

    It has the methods of C{BatchIO} in C{_mmsg.c}, which takes many datagrams per
    system call.
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: A connected datagram socket.
        """
        self._socket = sock
        self._receivedBytes = self._sentBytes = 0

    def totalBytes(self) -> tuple[int, int]:
        """
        Return the number of payload bytes received, and of those sent.
        """
        return self._receivedBytes, self._sentBytes

    def receiveTimed(
        self, limit: int
    ) -> tuple[list[bytes], list[int], list[bool]] | None:
        """
        Receive a datagram.

        @param limit: Maximum number of datagrams.

        @return: The datagrams, the arrival time of each by the wall clock in
            nanoseconds, or 0, and C{True} for each that arrived in fragments.  C{None}
            if nothing had arrived.

        @raise OSError: The error of recvmsg(2).
        """
        try:
            datagram, control, *_ = self._socket.recvmsg(_MAX_DATAGRAM, _CONTROL_SIZE)
        except BlockingIOError:
            return None
        self._receivedBytes += len(datagram)
        time, isFragmented = 0, False
        for level, type, data in control:
            if (level, type) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                time = seconds * 1_000_000_000 + nanoseconds
            elif (level, type) in _RECVFRAGSIZE.values():
                isFragmented = True
        return [datagram], [time], [isFragmented]

    def send(self, datagrams: list[bytes], peers: None, start: int) -> int:
        """
        Send a datagram.

        @param datagrams: The payloads.

        @param peers: Not used, as the socket is connected.

        @param start: Index of the datagram to send.

        @return: 1, the number of datagrams sent.
        """
        self._sentBytes += self._socket.send(datagrams[start])
        return 1
