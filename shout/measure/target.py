"""
The server to measure.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from shout.client import addressesOf, explain
from shout.sockets.address import authority
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.udp.sockopt import omitFlowLabel

# The largest length in a UDP header (RFC 768) less the headers it includes, and the
# capacity of a UNIX socket's default send buffer.
_LARGEST_IPv4, _LARGEST_IPv6, _LARGEST_UNIX = 65507, 65527, 212960


@dataclass(frozen=True)
class SocketOptions:
    """
    The options of the sockets that send probes.

    @ivar source: Address of this host to send from; empty for the one that the routing
        table selects.

    @ivar isShared: C{True} to let sockets that connect to different targets share a
        source port.
    """

    source: str = ""
    isShared: bool = False

    def prepare(self, sock: socket.socket) -> None:
        """
        Set the options of a socket that is not bound yet.
        """
        # Routers may choose a path by the flow label, and a source port means a path.
        omitFlowLabel(sock)
        if self.isShared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


@dataclass(frozen=True)
class Target:
    """
    A server to measure.

    @ivar host: The name, address or path of a UNIX socket that the user gave.

    @ivar address: The IPv4 or IPv6 address, or the path of a UNIX socket.

    @ivar port: The UDP port; C{None} for a UNIX socket.
    """

    host: str
    address: str
    port: int | None

    def open(
        self, options: SocketOptions = SocketOptions(), sourcePort: int = 0
    ) -> socket.socket:
        """
        Return a new socket, connected to the server.

        @param options: The options of the socket, unless it is a UNIX socket.

        @param sourcePort: UDP port to send from; 0 for any.

        @raise OSError: If the server cannot be reached, or an option is refused.
        """
        if self.port is None:
            return connectUNIX(self.address)
        source = options.source
        return connectUDP(self.address, self.port, source, sourcePort, options.prepare)

    @property
    def isLocal(self) -> bool:
        """
        C{True} if datagrams to the server do not leave this host.
        """
        if self.port is None:
            return True
        try:
            with self.open() as sock:
                here, there = sock.getsockname()[0], sock.getpeername()[0]
        except OSError:
            return False
        # A datagram to an address of this host has that address as its source, too.
        return bool(here == there or ip_address(there).is_loopback)

    @property
    def isIPv6(self) -> bool:
        """
        C{True} if the server has an IPv6 address.
        """
        return self.port is not None and ":" in self.address

    @property
    def largest(self) -> int:
        """
        Size of the largest datagram to the server, in bytes.
        """
        if self.port is None:
            return _LARGEST_UNIX
        return _LARGEST_IPv6 if self.isIPv6 else _LARGEST_IPv4

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        where = authority(self.address, self.port)
        return where if self.host == self.address else f"{self.host} ({where})"


async def resolveTarget(
    host: str, port: int, unix: str | None, family: int, reactor: Any
) -> Target:
    """
    Find the first reachable address of a server.

    @param host: A name, an IPv4 address or an IPv6 address.

    @param port: The UDP port, 1 to 65535.

    @param unix: The path of a UNIX socket, or its abstract name after an C{@}; it
        takes the place of C{host} and C{port}.

    @param family: C{socket.AF_INET} or C{socket.AF_INET6} to use addresses of one
        family only; otherwise C{socket.AF_UNSPEC}.

    @param reactor: An L{IReactorPluggableNameResolver
        <twisted.internet.interfaces.IReactorPluggableNameResolver>} provider.

    @raise UnknownHost: If C{host} has no address.

    @raise Unreachable: If none of the addresses, or not the UNIX socket, can be
        reached.

    @raise Refused: If there is no UNIX socket at C{unix}.
    """
    if unix is not None:
        targets = [Target(unix, unix, None)]
    else:
        addresses = await addressesOf(host, port, family, reactor)
        targets = [Target(host, address, port) for address in addresses]
    error: OSError | None = None
    for target in targets:
        try:
            target.open().close()
        except OSError as e:
            error = e
        else:
            return target
    raise explain(targets[0].host, error)


def openSockets(
    targets: Sequence[Target], sourcePorts: Sequence[int], options: SocketOptions
) -> list[list[socket.socket]]:
    """
    Return the sockets of each target, one for each source port.

    @param sourcePorts: The ports to send from; 0 for any.

    @raise OSError: If a socket cannot be opened; then none is.
    """
    with ExitStack() as undo:

        def open(target: Target, port: int) -> socket.socket:
            try:
                return undo.enter_context(target.open(options, port))
            except OSError as e:
                if port:
                    reason = f"source port {port}: {os.strerror(e.errno or 0).lower()}"
                    raise OSError(e.errno, reason) from e
                raise

        sockets = [[open(target, port) for port in sourcePorts] for target in targets]
        undo.pop_all()
    return sockets


def sourcePortOf(sock: socket.socket) -> int | None:
    """
    Return the UDP port that a socket sends from, or C{None} for a UNIX socket.
    """
    address = sock.getsockname()
    return address[1] if isinstance(address, tuple) else None
