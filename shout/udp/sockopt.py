"""
Socket options of the kernel that Python or Twisted lack.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from errno import ENODEV, ENOPROTOOPT

RECEIVE_BUFFER = 4 << 20
"""
Bytes of receive buffer for a server.  The default of Linux holds about 256 small
datagrams.
"""

# From linux/in.h; Python 3.11 and earlier do not have it.
IP_PKTINFO = 8

# From asm-generic/socket.h, linux/sock_diag.h, linux/in.h and linux/in6.h; Python
# does not have them.  The last field of SO_MEMINFO is SK_MEMINFO_DROPS.
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_MEMINFO_FIELDS = 9
_MTU_DISCOVER = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),
}
# With IP_PMTUDISC_DO the kernel itself refuses what exceeds the path MTU that it knows
# of, and it knows one for all flows to a host.  With IP_PMTUDISC_PROBE each datagram
# goes its own way, and the router where that is too narrow reports an error.
_PMTUDISC_DONT, _PMTUDISC_PROBE = 0, 3
_IPV6_AUTOFLOWLABEL = 70
_IPV6_FREEBIND = 78

_TTL = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
TTL_MESSAGES = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
}
"""
The level and the type of the control message with the TTL or the hop limit, by address
family.
"""

TOS_MESSAGES = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TOS),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
}
"""
The level and the type of the control message with the type of service or the traffic
class, by address family.
"""

_RECVTOS = {
    socket.AF_INET: (socket.IPPROTO_IP, 13),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS),
}

_RCVBUF = socket.SOL_SOCKET, socket.SO_RCVBUF


def enablePacketInfo(sock: socket.socket) -> None:
    """
    Make the kernel pass on the local address that each datagram was sent to, in a
    C{IP_PKTINFO} or C{IPV6_PKTINFO} control message; see ip(7) and ipv6(7).  It does
    nothing on systems other than Linux.
    """
    if sys.platform != "linux":
        return
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        return
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    # For IPv4 peers of a dual-stack socket.  Older kernels reject it.
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def copyTOS(sock: socket.socket) -> None:
    """
    Make the ports of this package answer each datagram with the DSCP of its type of
    service or traffic class.  It does nothing on systems other than Linux, and for UNIX
    sockets.
    """
    if sys.platform != "linux" or sock.family not in _RECVTOS:
        return
    # The kernel passes it on in a control message, which the peer keeps.
    sock.setsockopt(*_RECVTOS[sock.family], 1)
    # For IPv4 peers of a dual-stack socket.
    with suppress(OSError):
        sock.setsockopt(*_RECVTOS[socket.AF_INET], 1)


def allowForeignSource(sock: socket.socket) -> None:
    """
    Allow an IPv6 socket to send from any address.  Otherwise Linux refuses to send
    from an address that is local by a route only.
    """
    if sys.platform == "linux":
        # It needs Linux 4.15, and an IPv6 socket.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)


def raiseReceiveBuffer(sock: socket.socket, size: int = RECEIVE_BUFFER) -> None:
    """
    Enlarge the receive buffer of a socket as far as the system allows.  A buffer
    that is larger already stays as it is.

    @param size: Number of bytes.
    """
    # Linux reports twice the size, because it includes its own overhead.
    current = sock.getsockopt(*_RCVBUF)
    if current >= (2 * size if sys.platform == "linux" else size):
        return
    if sys.platform == "linux":
        with suppress(PermissionError):
            # Root may exceed net.core.rmem_max; see socket(7).
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
            return
    # For a size above its maximum Linux sets the maximum, which may be less than the
    # current size, and other systems raise an error.  So another socket tries first.
    with suppress(OSError), socket.socket(sock.family, sock.type) as other:
        other.setsockopt(*_RCVBUF, size)
        if other.getsockopt(*_RCVBUF) > current:
            sock.setsockopt(*_RCVBUF, size)


def kernelDrops(sock: socket.socket) -> int:
    """
    Return the number of datagrams that the kernel has dropped because the receive
    buffer of a socket was full; 0 on systems other than Linux.  The counter has 32
    bits and wraps around.
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
    Return the number of datagrams that the kernel has dropped since L{kernelDrops}
    returned C{before}.
    """
    return (kernelDrops(sock) - before) % (1 << 32)


def allowFragments(sock: socket.socket, isAllowed: bool) -> bool:
    """
    Allow or forbid fragmentation of the datagrams that a socket sends.

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


def bindToDevice(sock: socket.socket, device: str) -> None:
    """
    Make a socket send and receive through one network device only; see
    C{SO_BINDTODEVICE} in socket(7).  Before Linux 5.7 it needs C{CAP_NET_RAW}.

    @raise OSError: If there is no such device, or the system rejects it.
    """
    try:
        # The kernel would cut off the end of a long name.
        socket.if_nametoindex(device)
    except OSError:
        raise OSError(ENODEV, os.strerror(ENODEV)) from None
    if sys.platform != "linux":
        raise OSError(ENOPROTOOPT, os.strerror(ENOPROTOOPT))
    name = os.fsencode(device)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)


def setTTL(sock: socket.socket, ttl: int) -> None:
    """
    Set the TTL, or the hop limit of IPv6, of the datagrams that a socket sends.

    @param ttl: Number from 1 to 255.

    @raise OSError: If the system rejects it, as for a UNIX socket.
    """
    sock.setsockopt(*_TTL.get(sock.family, _TTL[socket.AF_INET]), ttl)


def setTOS(sock: socket.socket, tos: int) -> None:
    """
    Set the type of service, or the traffic class of IPv6, of the datagrams that a
    socket sends.

    @param tos: Number from 0 to 255.

    @raise OSError: If the system rejects it, as for a UNIX socket.
    """
    # The type of service has the same number as an option and as a control message.
    option = TOS_MESSAGES.get(sock.family, TOS_MESSAGES[socket.AF_INET])
    sock.setsockopt(*option, tos)
