"""
From the name of a host to its addresses.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

from shout.sockets.address import parse, unmapped


class ResolutionError(Exception):
    """
    A host has no usable address.  The message is one line for the user.
    """


_FAMILIES: dict[int, tuple[str, list[type[IAddress]] | None]] = {
    socket.AF_UNSPEC: ("", None),
    socket.AF_INET: ("IPv4 ", [IPv4Address]),
    socket.AF_INET6: ("IPv6 ", [IPv6Address]),
}


async def resolve(host: str, port: int, family: int, reactor: Any) -> list[str]:
    """
    Look up the addresses of a host.

    @param host: a name, or an address, which is its own only one, unless it is
        IPv4-mapped: that stands for the IPv4 address.

    @param port: the UDP port, for resolvers that look at it.

    @param family: L{socket.AF_UNSPEC}, or the one family that is wanted.

    @param reactor: an L{IReactorPluggableNameResolver
        <twisted.internet.interfaces.IReactorPluggableNameResolver>} provider.

    @return: at least one, in the resolver's order.

    @raise ResolutionError: when there is none.
    """
    kind, types = _FAMILIES[family]
    unknown = ResolutionError(f"no {kind}address is known for {host!r}")
    host = _unmapped(host)

    def isOfFamily(address: str) -> bool:
        return kind in ("", f"IPv{ip_address(address).version} ")

    try:
        isWanted = isOfFamily(host)
    except ValueError:
        pass
    else:
        if not isWanted:
            raise unknown
        try:
            parse(host, port)
        except ValueError:
            raise unknown from None
        return [host]
    # The resolver never completes what the system's resolver cannot take.
    try:
        host.encode("idna")
    except UnicodeError:
        raise unknown from None
    if "\0" in host:
        raise unknown
    receiver = _Receiver()
    reactor.nameResolver.resolveHostName(receiver, host, port, types, "UDP")
    addresses = [*filter(isOfFamily, dict.fromkeys(await receiver.addresses))]
    if not addresses:
        raise unknown
    return addresses


def _unmapped(host: str) -> str:
    """
    Return the IPv4 address of one that is IPv4-mapped, as over IPv4 is how the
    system sends to it, and anything else as it is.
    """
    try:
        return str(unmapped(ip_address(host)))
    except ValueError:
        return host


@implementer(IResolutionReceiver)
class _Receiver:
    """
    Collect the addresses of a host.
    """

    def __init__(self) -> None:
        self.addresses: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """
        Do nothing: a look-up cannot be cancelled.
        """

    def addressResolved(self, address: IAddress) -> None:
        """
        Keep one address.
        """
        assert isinstance(address, IPv4Address | IPv6Address)
        scope = getattr(address, "scopeID", 0)
        host = _unmapped(address.host)
        self._found.append(f"{host}%{scope}" if scope else host)

    def resolutionComplete(self) -> None:
        """
        Hand over what was found.
        """
        self.addresses.callback(self._found)
