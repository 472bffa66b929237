"""
Bound and connected UDP sockets.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from shout.sockets.address import EVERYWHERE, authority, parse
from shout.udp.sockopt import enablePacketInfo, raiseReceiveBuffer

FAMILY_OFF = (errno.EADDRNOTAVAIL, errno.ENETUNREACH)
"""
The errors of connect(2) to this host if the address family is off.
"""


class BindError(Exception):
    """
    An address cannot be bound.  The message is one line with the cause and a remedy.
    """


def bindUDP(port: int = 9999, interfaces: Iterable[str] = ()) -> list[socket.socket]:
    """
    Bind UDP sockets, which are non-blocking.

    @param port: Port number, 0 to 65535.  With 0 the system selects a free one, the
        same for all interfaces.

    @param interfaces: IPv4 and IPv6 addresses of this host.  An IPv6 address may carry
        a scope, as in C{fe80::1%eth0}.  By default all IPv4 addresses and, if the host
        has IPv6, all IPv6 addresses.

    @return: One socket per interface.  C{::} is IPv6 only, so that the addresses of
        IPv4 peers are never IPv4-mapped.

    @raise BindError: One of the addresses cannot be bound.  Then none is.
    """
    if not 0 <= port <= 65535:
        raise BindError(f"port {port} is out of range; choose one from 0 to 65535")
    # The parsed address is the key: one address can be written in several ways.
    byAddress = {_parseInterface(each): each for each in interfaces}
    isEverywhere = not byAddress
    hosts = EVERYWHERE if isEverywhere else tuple(byAddress.values())
    # A port that is free at the first address may be in use at the second.
    attempts = 1 if port else 20
    while True:
        attempts -= 1
        try:
            return _bindAll(hosts, port, isEverywhere)
        except BindError:
            if not attempts:
                raise


def _bindAll(
    hosts: Iterable[str], port: int, isEverywhere: bool
) -> list[socket.socket]:
    with ExitStack() as undo:
        bound: list[socket.socket] = []
        for host in hosts:
            try:
                sock = _bindUDP(host, port)
            except OSError as e:
                hasNoIPv6 = e.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
                if bound and hasNoIPv6 and isEverywhere:
                    continue
                raise BindError(_explainUDP(host, port, e)) from e
            undo.callback(sock.close)
            bound.append(sock)
            port = sock.getsockname()[1]
        undo.pop_all()
    return bound


def _bindUDP(host: str, port: int) -> socket.socket:
    family, address = parse(host, port)
    with ExitStack() as undo:
        sock = undo.enter_context(newUDP(family))
        sock.bind(address)
        undo.pop_all()
    return sock


def newUDP(family: int) -> socket.socket:
    """
    Make a non-blocking UDP socket to be bound.

    It has the options that must be set before the first datagram arrives, and before
    privileges are dropped.  An IPv6 socket is IPv6 only.
    """
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        enablePacketInfo(sock)
        raiseReceiveBuffer(sock)
        undo.pop_all()
    return sock


def _parseInterface(interface: str) -> Any:
    try:
        return parse(interface, 0)
    except ValueError as e:
        raise BindError(
            f"{interface!r} is not an IP address; "
            "give an address of this host, such as 127.0.0.1 or ::1"
        ) from e


def _explainUDP(host: str, port: int, error: OSError) -> str:
    where = authority(host, port)
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
        return f"{host} is not an address of this host; see `ip address`"
    if error.errno == errno.EINVAL and host.lower().startswith("fe80:"):
        return f"{host} is link-local; add the interface, as in {host}%eth0"
    return f"cannot bind UDP {where}: {error.strerror}"


def connectUDP(
    host: str,
    port: int,
    source: str = "",
    sourcePort: int = 0,
    prepare: Callable[[socket.socket], object] = lambda sock: None,
) -> socket.socket:
    """
    Make a non-blocking UDP socket that is connected to one peer.

    @param host: An IPv4 or IPv6 address.  An IPv6 address may carry a scope.

    @param port: Port of the peer, 1 to 65535.

    @param source: Address of this host to send from.  By default the routing table
        decides.

    @param sourcePort: Port to send from; 0 for any.

    @param prepare: Called with the socket before it is bound and connected, to set
        options.

    @raise ValueError: C{host} or C{source} is not an IP address.

    @raise OSError: There is no route to the peer.
    """
    family, address = parse(host, port)
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.setblocking(False)
        prepare(sock)
        if source or sourcePort:
            unspecified = "::" if family == socket.AF_INET6 else "0.0.0.0"
            sock.bind(parse(source or unspecified, sourcePort)[1])
        sock.connect(address)
        discardReceived(sock)
        undo.pop_all()
    return sock


def discardReceived(sock: socket.socket) -> None:
    """
    Discard the datagrams that arrived before the socket was connected, as any peer may
    have sent them.
    """
    while True:
        try:
            sock.recv(1)
        except OSError:
            return
