"""
From an address to a bound or a connected UDP socket that does not block, and what
sockets of every family have in common.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from shlex import quote
from typing import Any

from shout.peer import IP_PKTINFO, withScope

EVERYWHERE = ("0.0.0.0", "::")

RECEIVE_BUFFER = 4 << 20
"""
How many bytes of receive buffer to ask the system for, where something may come
faster than it is read.  The default holds about 256 small datagrams.
"""

_RCVBUF = socket.SOL_SOCKET, socket.SO_RCVBUF

# From asm-generic/socket.h and linux/sock_diag.h; Python does not have them.
# The last of the fields is SK_MEMINFO_DROPS.
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_MEMINFO_FIELDS = 9

# From linux/if.h.
_IFNAMSIZ = 16


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


def parse(host: str, port: int) -> tuple[int, Any]:
    """
    Turn an IP address into the form that L{socket.socket} takes, without asking
    a name server.

    @param host: an IPv4 or IPv6 address; an IPv6 address may carry a scope.

    @return: the address family, and the address.

    @raise ValueError: when C{host} is not an IP address, or its scope is not an
        interface of this host.
    """
    ip_address(host)
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror as e:
        raise ValueError(str(e)) from e
    family, _, _, _, address = found[0]
    return family, address


def describe(sock: socket.socket) -> str:
    """
    Return the address of a socket as people write it: C{UDP 127.0.0.1:9999},
    C{UDP [::1]:9999}, C{UDP [fe80::1%eth0]:9999}, C{UNIX /run/shout} or, abstract,
    C{UNIX @shout}.
    """
    if sock.family == socket.AF_UNIX:
        return "UNIX " + pathOf(sock)
    return "UDP " + _hostAndPort(*hostAndPort(sock.getsockname()))


def pathOf(sock: socket.socket) -> str:
    """
    Return the path of a UNIX socket, or its abstract name with an C{@} before it.
    """
    return os.fsdecode(sock.getsockname()).replace("\0", "@", 1)


def reachedAt(sock: socket.socket) -> tuple[str, int]:
    """
    Return a host and a port at which this host reaches a UDP socket: where it is
    bound to all addresses, the loopback, or what the host is called at the device
    that it is bound to besides.
    """
    host, port = hostAndPort(sock.getsockname())
    if host in EVERYWHERE:
        host = _addressAtDevice(sock) or ("::1" if ":" in host else "127.0.0.1")
    return host, port


def _addressAtDevice(sock: socket.socket) -> str:
    """
    Return an address of this host at the device that a UDP socket is bound to
    (C{SO_BINDTODEVICE}; see socket(7)); an empty string where there is no such.
    """
    if sys.platform != "linux":
        return ""
    option = socket.SOL_SOCKET, socket.SO_BINDTODEVICE
    # The device may have gone since, or have no address.
    with suppress(OSError), socket.socket(sock.family, socket.SOCK_DGRAM) as other:
        device = sock.getsockopt(*option, _IFNAMSIZ)
        if device:
            other.setsockopt(*option, device)
            # Nothing is sent: to connect is to choose an address to send from.
            there = "0.0.0.0" if sock.family == socket.AF_INET else "ff02::1"
            other.connect((there, 1))
            return hostAndPort(other.getsockname())[0]
    return ""


def hostAndPort(address: Any) -> tuple[str, int]:
    """
    Return what identifies an end of IPv4 or IPv6, of what L{socket.socket} says
    about it: the host, with its scope where it has one, and the port.
    """
    host, port, *more = address
    return withScope(host, more[1] if more else 0), port


def _hostAndPort(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def example(sock: socket.socket) -> str:
    """
    Return a command that asks the service at a socket.
    """
    if sock.family == socket.AF_UNIX:
        return f"shout --unix {quote(pathOf(sock))} hello"
    host, port = reachedAt(sock)
    return f"nc -u {host} {port}"


def _explainUDP(interface: str, port: int, error: OSError) -> str:
    where = _hostAndPort(interface, port)
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
