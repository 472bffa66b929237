"""
From an address to a bound or a connected UDP socket that does not block, and what
sockets of every family have in common.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Any

from shout.addresses import EVERYWHERE, authority, parse

RECEIVE_BUFFER = 4 << 20
"""
How many bytes of receive buffer to ask the system for, where something may come
faster than it is read.  The default holds about 256 small datagrams.
"""

FAMILY_OFF = (errno.EADDRNOTAVAIL, errno.ENETUNREACH)
"""
The errors of connect(2) to this host itself when an address family is switched off.
"""

_RCVBUF = socket.SOL_SOCKET, socket.SO_RCVBUF

# From linux/in.h; Python 3.11 and earlier do not have it.
IP_PKTINFO = 8

# From asm-generic/socket.h and linux/sock_diag.h; Python does not have them.
# The last of the fields is SK_MEMINFO_DROPS.
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_MEMINFO_FIELDS = 9


class BindError(Exception):
    """
    An address cannot be listened on.  The message is one line that says what is
    wrong and what to do about it.
    """


def bindUDP(port: int = 9999, interfaces: Iterable[str] = ()) -> list[socket.socket]:
    """
    Bind UDP sockets.

    @param port: the port number, 0 to 65535.  With 0 the system picks a free
        one, the same for all interfaces.

    @param interfaces: IPv4 and IPv6 addresses of this host; an IPv6 address may
        carry a scope, as in C{fe80::1%eth0}.  With none, everything: all IPv4
        addresses and, where the host has IPv6, all IPv6 addresses.

    @return: one socket per interface.  C{::} is IPv6 alone, so that IPv4 peers
        keep their plain addresses.

    @raise BindError: when one of them cannot be bound; then none is.
    """
    if not 0 <= port <= 65535:
        raise BindError(f"port {port} is out of range; choose one from 0 to 65535")
    wanted = {_parseInterface(each): each for each in interfaces}
    isEverywhere = not wanted
    if isEverywhere:
        wanted = {_parseInterface(each): each for each in EVERYWHERE}
    # The port that is free at the first address may not be at the second.
    attempts = 1 if port else 20
    while True:
        attempts -= 1
        try:
            return _bindAll(wanted.values(), port, isEverywhere)
        except BindError:
            if not attempts:
                raise


def _bindAll(
    interfaces: Iterable[str], port: int, isEverywhere: bool
) -> list[socket.socket]:
    with ExitStack() as undo:
        bound: list[socket.socket] = []
        for interface in interfaces:
            try:
                sock = _bindUDP(interface, port)
            except OSError as e:
                hasNoIPv6 = e.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
                if bound and hasNoIPv6 and isEverywhere:
                    continue
                raise BindError(_explainUDP(interface, port, e)) from e
            undo.callback(sock.close)
            bound.append(sock)
            port = sock.getsockname()[1]
        undo.pop_all()
    return bound


def _bindUDP(interface: str, port: int) -> socket.socket:
    family, address = parse(interface, port)
    with ExitStack() as undo:
        sock = undo.enter_context(newUDP(family))
        sock.bind(address)
        undo.pop_all()
    return sock


def newUDP(family: int) -> socket.socket:
    """
    Make a UDP socket that is ready to be bound: it does not block, takes IPv6 alone
    where it takes that, and has been asked for what counts from the first datagram
    on, while there may still be the privileges for it.
    """
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform == "linux":
            tellLocalAddress(sock)
        raiseReceiveBuffer(sock)
        undo.pop_all()
    return sock


def tellLocalAddress(sock: socket.socket) -> None:
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


def _parseInterface(interface: str) -> Any:
    try:
        return parse(interface, 0)
    except ValueError as e:
        raise BindError(
            f"{interface!r} is not an IP address; "
            "give one of this host's, such as 127.0.0.1 or ::1"
        ) from e


def _explainUDP(interface: str, port: int, error: OSError) -> str:
    where = authority(interface, port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"UDP {where} is already in use; "
            "stop the program that has it, or choose another port"
        )
    if error.errno == errno.EACCES:
        return (
            f"no permission to bind UDP {where}; "
            "ports below 1024 usually need root, choose a higher one"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{interface} is not an address of this host; "
            "`ip address` lists those that are"
        )
    if error.errno == errno.EINVAL and interface.lower().startswith("fe80:"):
        return f"{interface} is link-local; say on which interface: {interface}%eth0"
    return f"cannot bind UDP {where}: {error.strerror}"


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


def dropped(sock: socket.socket) -> int:
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


def droppedSince(sock: socket.socket, before: int) -> int:
    """
    Return how many datagrams the kernel has dropped at a socket since a moment.

    @param before: what L{dropped} returned then.
    """
    return (dropped(sock) - before) % (1 << 32)


def connectUDP(host: str, port: int, source: str = "") -> socket.socket:
    """
    Make a UDP socket that sends to one peer and hears from that peer alone.

    @param host: an IPv4 or IPv6 address; an IPv6 address may carry a scope.

    @param port: the peer's port, 1 to 65535.

    @param source: the address of this host to send from; without one, what the
        routes say.

    @raise ValueError: when C{host} or C{source} is not an IP address.

    @raise OSError: when there is no way to it.
    """
    family, address = parse(host, port)
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.setblocking(False)
        if source:
            sock.bind(parse(source, 0)[1])
        sock.connect(address)
        undo.pop_all()
    return sock
