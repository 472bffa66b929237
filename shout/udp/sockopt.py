"""
Socket options of the kernel that Python or Twisted lack.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

RECEIVE_BUFFER = 4 << 20
"""
How many bytes of receive buffer to ask the system for, where something may come
faster than it is read.  The default holds about 256 small datagrams.
"""


_RCVBUF = socket.SOL_SOCKET, socket.SO_RCVBUF


# From linux/in.h; Python 3.11 and earlier do not have it.
IP_PKTINFO = 8


# From asm-generic/socket.h and linux/sock_diag.h; Python does not have them.
# The last of the fields is SK_MEMINFO_DROPS.
_SO_RCVBUFFORCE = 33


_SO_MEMINFO = 55


_MEMINFO_FIELDS = 9


def enablePacketInfo(sock: socket.socket) -> None:
    """
    Have the kernel say which local address each datagram was sent to, as Linux
    does; see ip(7) and ipv6(7).
    """
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        return
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    # For IPv4 that comes by way of IPv6, where older kernels refuse it.
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def raiseReceiveBuffer(sock: socket.socket, size: int = RECEIVE_BUFFER) -> None:
    """
    Make the receive buffer of a socket larger, as far as the system allows, unless
    it is so large already.

    @param size: how many bytes are wanted.
    """
    # Linux tells twice the size, for what it keeps the datagrams in.
    has = sock.getsockopt(*_RCVBUF)
    if has >= (2 * size if sys.platform == "linux" else size):
        return
    if sys.platform == "linux":
        with suppress(PermissionError):
            # Root may have more than net.core.rmem_max; see socket(7).
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
            return
    # Where it is too much, Linux gives less, even less than there is, and others
    # an error.
    with suppress(OSError), socket.socket(sock.family, sock.type) as other:
        other.setsockopt(*_RCVBUF, size)
        if other.getsockopt(*_RCVBUF) > has:
            sock.setsockopt(*_RCVBUF, size)


def kernelDrops(sock: socket.socket) -> int:
    """
    Return how many datagrams the kernel has dropped because the receive buffer
    of a socket was full; 0 where the system does not tell.  Linux counts in 32
    bits, and so begins again from 0 after 4,294,967,295.
    """
    if sys.platform != "linux":
        return 0
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * _MEMINFO_FIELDS)
    except OSError:
        return 0
    return int.from_bytes(info[-4:], sys.byteorder)


def kernelDropsSince(sock: socket.socket, before: int) -> int:
    """
    Return how many datagrams the kernel has dropped at a socket since a moment.

    @param before: what L{dropped} returned then.
    """
    return (kernelDrops(sock) - before) % (1 << 32)


# From linux/in.h and linux/in6.h; Python does not have them.
_MTU_DISCOVER = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),
}


_PMTUDISC_DONT, _PMTUDISC_PROBE = 0, 3


_IPV6_AUTOFLOWLABEL = 70


def allowFragments(sock: socket.socket, isAllowed: bool) -> bool:
    """
    Allow or forbid the fragmentation of the datagrams that a socket sends.

    @return: C{True} if the system has that option: Linux, for an IP socket.
    """
    if sys.platform != "linux" or sock.family not in _MTU_DISCOVER:
        return False
    value = _PMTUDISC_DONT if isAllowed else _PMTUDISC_PROBE
    try:
        sock.setsockopt(*_MTU_DISCOVER[sock.family], value)
    except OSError:
        return False
    return True


def omitFlowLabel(sock: socket.socket) -> None:
    """
    Make an IPv6 socket send without a flow label.  Otherwise Linux draws a label for
    each socket, and routers may choose a path by it.
    """
    if sys.platform == "linux" and sock.family == socket.AF_INET6:
        # It needs Linux 3.17, and some sandboxes lack it.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_AUTOFLOWLABEL, 0)
