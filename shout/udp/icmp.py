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
from errno import ECONNREFUSED, EMSGSIZE, ENETUNREACH
from struct import Struct
from typing import NamedTuple

# IP_RECVERR and IPV6_RECVERR from linux/in.h and linux/in6.h; Python does not have
# them.
_RECVERR = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}

# The beginning of struct sock_extended_err in linux/errqueue.h: error number, origin,
# type, code.  The origins are SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6.
_EXTENDED_ERROR = Struct("IBBB")
_ICMP_ORIGINS = (2, 3)
_CONTROL = 512

# More than a queue holds, so that reading ends although more errors arrive.
_MAX_ERRORS = 4096

# ICMP errors that share an error number with others, by origin, type and code
# (RFC 792, RFC 1812, RFC 4443).
_PROHIBITED = "administratively prohibited"
_EXCEEDED = "time to live exceeded"
_REASSEMBLY = "fragment reassembly time exceeded"
_REASONS = {
    (2, 3, 9): _PROHIBITED,
    (2, 3, 10): _PROHIBITED,
    (2, 3, 13): _PROHIBITED,
    (2, 11, 0): _EXCEEDED,
    (2, 11, 1): _REASSEMBLY,
    (3, 1, 1): _PROHIBITED,
    (3, 1, 5): _PROHIBITED,
    (3, 1, 6): _PROHIBITED,
    (3, 3, 0): _EXCEEDED,
    (3, 3, 1): _REASSEMBLY,
}


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


TOO_BIG = os.strerror(EMSGSIZE).lower()
"""
The description of "fragmentation needed" and "packet too big": the datagram exceeds
the MTU of a link, and the router may not fragment it; over IPv6 no router may.  The
kernel then updates its path MTU and fragments the next datagram, unless
don't-fragment is set.
"""


def enableErrorQueue(sock: socket.socket) -> None:
    """
    Make the kernel queue the ICMP errors of a socket, if it can.
    """
    if sys.platform == "linux" and sock.family in _RECVERR:
        with suppress(OSError):
            sock.setsockopt(*_RECVERR[sock.family], 1)


def readErrorQueue(sock: socket.socket) -> list[tuple[bytes | None, str]]:
    """
    Remove and return the ICMP errors that the kernel has queued for a socket.

    @return: The quoted payload and the description of each error.
    """
    icmpErrors: list[tuple[bytes | None, str]] = []
    if sys.platform != "linux" or sock.family not in _RECVERR:
        return icmpErrors
    option = _RECVERR[sock.family]
    while len(icmpErrors) < _MAX_ERRORS:
        try:
            quote, control, _, _ = sock.recvmsg(65535, _CONTROL, socket.MSG_ERRQUEUE)
        except OSError:
            break
        for level, type, data in control:
            if (level, type) == option and len(data) >= _EXTENDED_ERROR.size:
                number, *icmp = _EXTENDED_ERROR.unpack_from(data)
                if icmp[0] in _ICMP_ORIGINS:
                    reason = _REASONS.get(tuple(icmp))
                    icmpErrors.append((quote, reason or explain(number)))
    return icmpErrors


def explain(number: int) -> str:
    """
    Return the description of an error number that stands for an ICMP error.
    """
    if number == ECONNREFUSED:
        return "port unreachable"
    if number == ENETUNREACH:
        return "network unreachable"
    return os.strerror(number).lower()
