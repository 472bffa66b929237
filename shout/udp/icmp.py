"""
ICMP errors on a connected socket.

Each ICMP error quotes the datagram that has caused it.  With C{IP_RECVERR} the kernel
keeps the errors in a queue, together with the quotes; see ip(7).
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH
from struct import Struct
from typing import NamedTuple

from .peer import withScope
from .timestamps import decodeTime

# IP_RECVERR and IPV6_RECVERR from linux/in.h and linux/in6.h; Python does not have
# them.
_RECVERR = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}

# struct sock_extended_err in linux/errqueue.h: error number, origin, type, code,
# padding, info, data.  The origins are SO_EE_ORIGIN_ICMP, _ICMP6 and _TIMESTAMPING.
# The address of the sender follows.
_EXTENDED_ERROR = Struct("=I4BII")
_ICMP, _ICMP6, _TIMESTAMPING = 2, 3, 4
_CONTROL = 512

# SCM_TIMESTAMPING from linux/errqueue.h: three struct timespec, the first of which is
# the time that the kernel has taken.
_SCM_TIMESTAMPING = socket.SOL_SOCKET, 37

# More than a queue holds, so that reading ends although more errors arrive.
_MAX_ERRORS = 4096

TIME_EXCEEDED = "time exceeded"
"""
The description of the error that a router sends when the TTL or hop limit of a datagram
reaches 0.
"""

# ICMP errors by origin, type and code (RFC 792, RFC 1812, RFC 4443).
_PROHIBITED = "administratively prohibited"
_REASSEMBLY = "fragment reassembly time exceeded"
_REASONS = {
    (_ICMP, 3, 0): "network unreachable",
    (_ICMP, 3, 1): "host unreachable",
    (_ICMP, 3, 3): "port unreachable",
    (_ICMP, 3, 4): "fragmentation needed",
    (_ICMP, 3, 9): _PROHIBITED,
    (_ICMP, 3, 10): _PROHIBITED,
    (_ICMP, 3, 13): _PROHIBITED,
    (_ICMP, 11, 0): TIME_EXCEEDED,
    (_ICMP, 11, 1): _REASSEMBLY,
    (_ICMP6, 1, 0): "network unreachable",
    (_ICMP6, 1, 1): _PROHIBITED,
    (_ICMP6, 1, 3): "host unreachable",
    (_ICMP6, 1, 4): "port unreachable",
    (_ICMP6, 1, 5): _PROHIBITED,
    (_ICMP6, 1, 6): _PROHIBITED,
    (_ICMP6, 2, 0): "packet too big",
    (_ICMP6, 3, 0): TIME_EXCEEDED,
    (_ICMP6, 3, 1): _REASSEMBLY,
}
_TOO_BIG = {(_ICMP, 3, 4), (_ICMP6, 2, 0)}


class ICMPError(NamedTuple):
    """
    An ICMP error, or an error of this system.

    @ivar reason: The error, in a few words.

    @ivar sender: Address of the router or host that sent it; C{None} for an error of
        this system.

    @ivar quote: The payload, as far as the error quotes it; C{None} if unknown.

    @ivar mtu: The MTU that the error reports, in bytes.
    """

    reason: str
    sender: str | None = None
    quote: bytes | None = None
    mtu: int | None = None


def enableErrorQueue(sock: socket.socket) -> None:
    """
    Make the kernel queue the ICMP errors of a socket, if it can.
    """
    if sys.platform == "linux" and sock.family in _RECVERR:
        with suppress(OSError):
            sock.setsockopt(*_RECVERR[sock.family], 1)


def readErrorQueue(
    sock: socket.socket, sendTimes: list[tuple[int, int]] | None = None
) -> list[ICMPError]:
    """
    Remove and return the ICMP errors that the kernel has queued for a socket.

    @param sendTimes: A list to extend by the kernel's times of sending, which are in
        the same queue: the number of each datagram, and the time by the wall clock in
        nanoseconds.
    """
    icmpErrors: list[ICMPError] = []
    if sys.platform != "linux" or sock.family not in _RECVERR:
        return icmpErrors
    option = _RECVERR[sock.family]
    for _ in range(_MAX_ERRORS):
        try:
            quote, control, _, _ = sock.recvmsg(65535, _CONTROL, socket.MSG_ERRQUEUE)
        except OSError:
            break
        messages = {(level, type): data for level, type, data in control}
        error = messages.get(option, b"")
        if len(error) < _EXTENDED_ERROR.size:
            continue
        number, origin, kind, code, _, info, data = _EXTENDED_ERROR.unpack_from(error)
        if origin in (_ICMP, _ICMP6):
            reason = _REASONS.get((origin, kind, code)) or explain(number)
            mtu = None
            if (origin, kind, code) in _TOO_BIG:
                # A router that does not know RFC 1191 reports 0.
                mtu = info
                reason = f"{reason} (MTU {mtu})"
            sender = _senderOf(error[_EXTENDED_ERROR.size :])
            icmpErrors.append(ICMPError(reason, sender, quote, mtu))
        elif origin == _TIMESTAMPING and sendTimes is not None:
            time = decodeTime(messages.get(_SCM_TIMESTAMPING, b""))
            if time:
                sendTimes.append((data, time))
    return icmpErrors


def _senderOf(sockaddr: bytes) -> str | None:
    """
    Return the address in a C{struct sockaddr}, or C{None} if it has none.
    """
    family = int.from_bytes(sockaddr[:2], sys.byteorder)
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return socket.inet_ntoa(sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 28:
        scope = int.from_bytes(sockaddr[24:28], sys.byteorder)
        return withScope(socket.inet_ntop(family, sockaddr[8:24]), scope)
    return None


def explain(number: int) -> str:
    """
    Return the description of an error number that stands for an ICMP error.
    """
    if number == ECONNREFUSED:
        return "port unreachable"
    if number == ENETUNREACH:
        return "network unreachable"
    if number == EHOSTUNREACH:
        return "host unreachable"
    return os.strerror(number).lower()
