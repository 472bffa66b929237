"""
Who is measured, and the way there.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from shout.client import addressesOf, explain
from shout.sockets.address import authority
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX

# The length field of a UDP header (RFC 768), less the headers that it counts;
# and what a UNIX socket's default buffer holds.
_LARGEST_IPv4, _LARGEST_IPv6, _LARGEST_UNIX = 65507, 65527, 212960


@dataclass(frozen=True)
class Target:
    """
    A server that is measured.

    @ivar host: as the user named it: a name, an address, or the path of a UNIX
        socket.

    @ivar address: the IPv4 or IPv6 address; the path of a UNIX socket.

    @ivar port: the UDP port; L{None} for a UNIX socket.
    """

    host: str
    address: str
    port: int | None

    def open(self) -> socket.socket:
        """
        Return a new socket that sends to it, and hears from it alone.

        @raise OSError: when there is no way to it.
        """
        if self.port is None:
            sock = connectUNIX(self.address)
        else:
            sock = connectUDP(self.address, self.port)
        return sock

    @property
    def isLocal(self) -> bool:
        """
        Whether what is sent to it stays on this host.
        """
        if self.port is None:
            return True
        try:
            with self.open() as sock:
                here, there = sock.getsockname()[0], sock.getpeername()[0]
        except OSError:
            return False
        # What is sent to this host's address is sent from that address, too.
        return bool(here == there or ip_address(there).is_loopback)

    @property
    def isIPv6(self) -> bool:
        """
        Whether it has an IPv6 address.
        """
        return self.port is not None and ":" in self.address

    @property
    def largest(self) -> int:
        """
        How many bytes the largest datagram to it has.
        """
        if self.port is None:
            return _LARGEST_UNIX
        return _LARGEST_IPv6 if self.isIPv6 else _LARGEST_IPv4

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        where = authority(self.address, self.port)
        return where if self.host == self.address else f"{self.host} ({where})"


async def reach(
    host: str, port: int, unix: str | None, family: int, reactor: Any
) -> Target:
    """
    Find the first address of a server to which there is a way.

    @param host: a name, an IPv4 address or an IPv6 address.

    @param port: the UDP port, 1 to 65535.

    @param unix: the path of a UNIX socket, or its abstract name with an C{@}
        before it, instead of C{host} and C{port}.

    @param family: L{socket.AF_INET} or L{socket.AF_INET6}, to use the addresses
        of one family only; else L{socket.AF_UNSPEC}.

    @param reactor: an L{IReactorPluggableNameResolver
        <twisted.internet.interfaces.IReactorPluggableNameResolver>} provider.

    @raise UnknownHost: when C{host} leads to no address.

    @raise Unreachable: when there is no way to any of them, or to the UNIX
        socket.

    @raise Refused: when there is no UNIX socket at C{unix}.
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
    raise explain(str(targets[0].host), error)
