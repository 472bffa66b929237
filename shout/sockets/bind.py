"""
From an address to a bound or a connected UDP socket that does not block, and what
sockets of every family have in common.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from shout.sockets.address import EVERYWHERE, authority, parse
from shout.udp.sockopt import enablePacketInfo, raiseReceiveBuffer

FAMILY_OFF = (errno.EADDRNOTAVAIL, errno.ENETUNREACH)
"""
The errors of connect(2) to this host itself when an address family is switched off.
"""


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
        discardReceived(sock)
        undo.pop_all()
    return sock


def discardReceived(sock: socket.socket) -> None:
    """
    Throw away what came before the socket was connected: anyone can have sent
    it.
    """
    while True:
        try:
            sock.recv(1)
        except OSError:
            return
