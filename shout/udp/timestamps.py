"""
The kernel's timestamps of received datagrams, and fields of their IP headers.

Linux takes the time when a datagram arrives, so a busy process does not distort it;
see C{SO_TIMESTAMPNS} in socket(7), and ip(7) and ipv6(7).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from struct import Struct
from typing import NamedTuple

from .peer import SOCKADDR_SIZE, unpackMessages
from .sockopt import TOS_MESSAGES, TTL_MESSAGES

# From asm-generic/socket.h; Python does not have it.
_SO_TIMESTAMPNS = 35

# These make the kernel pass on the TTL, the type of service, and the size of the
# fragments that a datagram arrived in.
_OPTIONS = {
    socket.AF_INET: (
        socket.IPPROTO_IP,
        ("IP_RECVTTL", "IP_RECVTOS", "IP_RECVFRAGSIZE"),
    ),
    socket.AF_INET6: (
        socket.IPPROTO_IPV6,
        ("IPV6_RECVHOPLIMIT", "IPV6_RECVTCLASS", "IPV6_RECVFRAGSIZE"),
    ),
}

# From linux/in.h and linux/in6.h.  Python has the first one since 3.14, and not the
# others.
_ON_LINUX = {"IP_RECVTTL": 12, "IP_RECVFRAGSIZE": 25, "IPV6_RECVFRAGSIZE": 77}


def _numberOf(option: str) -> int | None:
    number = _ON_LINUX.get(option) if sys.platform == "linux" else None
    return getattr(socket, option, number)


# The control messages that result.  Over IPv4 the type is that of the option for
# sending on Linux, and that of the option for receiving on other systems.
_TTL = {*TTL_MESSAGES.values(), (socket.IPPROTO_IP, _numberOf("IP_RECVTTL"))}
_TOS = {*TOS_MESSAGES.values(), (socket.IPPROTO_IP, _numberOf("IP_RECVTOS"))}
_FRAGMENTS = {
    (socket.IPPROTO_IP, _numberOf("IP_RECVFRAGSIZE")),
    (socket.IPPROTO_IPV6, _numberOf("IPV6_RECVFRAGSIZE")),
}

# struct timespec: seconds and nanoseconds.
_TIMESPEC = Struct("ll")

# A UDP datagram has at most 65,535 bytes, one on a UNIX socket as many as this or less
# with the usual send buffer.
_MAX_DATAGRAM = 262144
_CONTROL_SIZE = 256


class IPHeader(NamedTuple):
    """
    Fields of the IP header of a received datagram.

    @ivar ttl: The TTL, or the hop limit of IPv6; C{None} if unknown.

    @ivar tos: The type of service, or the traffic class of IPv6; C{None} if unknown.

    @ivar isFragmented: C{True} if the datagram arrived in fragments; C{False} where the
        system cannot report this.
    """

    ttl: int | None = None
    tos: int | None = None
    isFragmented: bool = False


def enableTimestamps(sock: socket.socket) -> bool:
    """
    Make the kernel pass on a timestamp with each datagram.

    @return: C{True} if there will be timestamps.
    """
    if sys.platform != "linux" or sock.family not in _OPTIONS:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def enableHeaders(sock: socket.socket) -> None:
    """
    Make the kernel pass on the fields of an L{IPHeader} with each datagram, as far as
    it can.
    """
    level, options = _OPTIONS.get(sock.family, (0, ()))
    for number in map(_numberOf, options):
        if number is not None:
            with suppress(OSError):
                sock.setsockopt(level, number, 1)


def decodeHeader(rawAddress: bytes) -> IPHeader:
    """
    Return the IP header of a datagram.

    @param rawAddress: The C{sockaddr}, padded to L{SOCKADDR_SIZE} bytes, and the
        control messages, as the kernel returns them.
    """
    return _headerOf(unpackMessages(rawAddress[SOCKADDR_SIZE:]))


def _headerOf(messages: Iterable[tuple[tuple[int, int], bytes]]) -> IPHeader:
    ttl = tos = None
    isFragmented = False
    for kind, data in messages:
        # The type of service is a byte, and the others are of type int.
        if kind in _TTL:
            ttl = int.from_bytes(data, sys.byteorder)
        elif kind in _TOS:
            tos = int.from_bytes(data, sys.byteorder)
        elif kind in _FRAGMENTS:
            isFragmented = True
    return IPHeader(ttl, tos, isFragmented)


def decodeTime(data: bytes) -> int:
    """
    Return the time in a C{struct timespec} in nanoseconds, or 0 if C{data} is too
    short.
    """
    if len(data) < _TIMESPEC.size:
        return 0
    seconds, nanoseconds = _TIMESPEC.unpack_from(data)
    return int(seconds * 1_000_000_000 + nanoseconds)


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
        self._header = IPHeader()

    def totalBytes(self) -> tuple[int, int]:
        """
        Return the number of payload bytes received, and of those sent.
        """
        return self._receivedBytes, self._sentBytes

    def receiveTimed(
        self, limit: int
    ) -> tuple[list[bytes], list[int], list[IPHeader]] | None:
        """
        Receive a datagram.

        @param limit: Maximum number of datagrams.

        @return: The datagrams, the arrival time of each by the wall clock in
            nanoseconds, or 0, and the IP header of each.  C{None} if nothing had
            arrived.

        @raise OSError: The error of recvmsg(2).
        """
        try:
            datagram, control, *_ = self._socket.recvmsg(_MAX_DATAGRAM, _CONTROL_SIZE)
        except BlockingIOError:
            return None
        self._receivedBytes += len(datagram)
        time = 0
        messages = [((level, type), data) for level, type, data in control]
        for kind, data in messages:
            if kind == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                time = decodeTime(data)
        header = _headerOf(messages)
        if header == self._header:
            # The same object for equal headers, as BatchIO does.
            header = self._header
        self._header = header
        return [datagram], [time], [header]

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
