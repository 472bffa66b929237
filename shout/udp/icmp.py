"""
What a connected socket is told about datagrams that did not get there.

An ICMP error stands for one datagram, and quotes it.  With IP_RECVERR the
kernel keeps all of them in a queue, with the quotes; see ip(7).
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from errno import ECONNREFUSED, EMSGSIZE, ENETUNREACH
from struct import Struct

# From linux/in.h and linux/in6.h; Python does not have them.
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ERRORS = {
    socket.AF_INET: (socket.IPPROTO_IP, _IP_RECVERR),
    socket.AF_INET6: (socket.IPPROTO_IPV6, _IPV6_RECVERR),
}

# The beginning of struct sock_extended_err in linux/errqueue.h, and its origins
# SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6.
_EXTENDED_ERROR = Struct("IBBB")
_FROM_ICMP = (2, 3)
_ANCILLARY = 512

# No more than a queue holds; what comes meanwhile is for the next time.
_MOST = 4096

# What the error number does not tell from "no route to host" or "permission
# denied": origin, type and code (RFC 792, RFC 1812, RFC 4443).
_PROHIBITED = "administratively prohibited"
_EXCEEDED = "time to live exceeded"
_INCOMPLETE = "fragments missing"
_REASONS = {
    (2, 3, 9): _PROHIBITED,
    (2, 3, 10): _PROHIBITED,
    (2, 3, 13): _PROHIBITED,
    (2, 11, 0): _EXCEEDED,
    (2, 11, 1): _INCOMPLETE,
    (3, 1, 1): _PROHIBITED,
    (3, 1, 5): _PROHIBITED,
    (3, 1, 6): _PROHIBITED,
    (3, 3, 0): _EXCEEDED,
    (3, 3, 1): _INCOMPLETE,
}


TOO_BIG = os.strerror(EMSGSIZE).lower()
"""
Why a router refuses a datagram that is too long for the next network and that it
may not fragment; over IPv6 no router may.  The system learns from it, and cuts
the next one to fit, unless don't-fragment is set.
"""


def enableErrorQueue(sock: socket.socket) -> None:
    """
    Have the system keep the errors that come back, where it can.
    """
    if sys.platform == "linux" and sock.family in _ERRORS:
        with suppress(OSError):
            sock.setsockopt(*_ERRORS[sock.family], 1)


def readErrorQueue(sock: socket.socket) -> list[tuple[bytes | None, str]]:
    """
    Take the errors out of the queue of a socket.

    @return: of each, what it quotes, and why it came, in a few words.
    """
    icmpErrors: list[tuple[bytes | None, str]] = []
    if sys.platform != "linux" or sock.family not in _ERRORS:
        return icmpErrors
    wanted = _ERRORS[sock.family]
    while len(icmpErrors) < _MOST:
        try:
            quote, ancillary, _, _ = sock.recvmsg(
                65535, _ANCILLARY, socket.MSG_ERRQUEUE
            )
        except OSError:
            break
        for level, kind, data in ancillary:
            if (level, kind) == wanted and len(data) >= _EXTENDED_ERROR.size:
                number, *icmp = _EXTENDED_ERROR.unpack_from(data)
                if icmp[0] in _FROM_ICMP:
                    reason = _REASONS.get(tuple(icmp))
                    icmpErrors.append((quote, reason or explain(number)))
    return icmpErrors


def explain(number: int) -> str:
    """
    Say what an error number means where it comes from the network.
    """
    if number == ECONNREFUSED:
        return "port unreachable"
    if number == ENETUNREACH:
        return "network unreachable"
    return os.strerror(number).lower()
