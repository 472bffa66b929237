"""
Name resolution: from the name of a host to its addresses.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from shout.sockets.address import ipOf, parse

_FAMILIES: dict[int, tuple[str, list[type[IAddress]] | None]] = {
    socket.AF_UNSPEC: ("", None),
    socket.AF_INET: ("IPv4 ", [IPv4Address]),
    socket.AF_INET6: ("IPv6 ", [IPv6Address]),
}

# The type of a pointer record (RFC 1035, 3.2.2).
_PTR = 12

# Seconds to wait for the name of an address, after each query.
_TIMEOUTS = (1, 2)


class ResolutionError(Exception):
    """
    A host has no usable address.  The message is one line for the user.
    """


async def resolve(host: str, port: int, family: int, reactor: Any) -> list[str]:
    """
    Look up the addresses of a host.

    @param host: A name or an address.  The result for an address is that address;
        for an IPv4-mapped one it is the IPv4 address.

    @param port: UDP port, for resolvers that depend on it.

    @param family: Address family: C{AF_INET}, C{AF_INET6} or C{AF_UNSPEC}.

    @param reactor: An L{IReactorPluggableNameResolver
        <twisted.internet.interfaces.IReactorPluggableNameResolver>} provider.

    @return: At least one address, in the order of the resolver.

    @raise ResolutionError: There is no address of that family.
    """
    kind, types = _FAMILIES[family]
    unknown = ResolutionError(f"no {kind}address is known for {host!r}")

    def isOfFamily(address: str) -> bool:
        return kind in ("", f"IPv{ip_address(address).version} ")

    ip = ipOf(host)
    if ip is not None:
        # Datagrams to an IPv4-mapped address are sent over IPv4.
        host = str(ip)
        try:
            parse(host, port)
        except ValueError:
            raise unknown from None
        if not isOfFamily(host):
            raise unknown
        return [host]
    # With such names Twisted's resolver never calls resolutionComplete.
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


@implementer(IResolutionReceiver)
class _Receiver:
    """
    The receiver of the addresses of a host.
    """

    def __init__(self) -> None:
        self.addresses: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """
        Do nothing: a look-up cannot be cancelled.
        """

    def addressResolved(self, address: IAddress) -> None:
        assert isinstance(address, IPv4Address | IPv6Address)
        scope = getattr(address, "scopeID", 0)
        host = str(ipOf(address.host))
        self._found.append(f"{host}%{scope}" if scope else host)

    def resolutionComplete(self) -> None:
        self.addresses.callback(self._found)


async def nameOf(address: str, lookupPointer: Callable[..., Any]) -> str | None:
    """
    Look up the name of an address in the DNS.

    @param address: An IPv4 or IPv6 address.  The scope of an IPv6 address is ignored.

    @param lookupPointer: The method of an L{IResolver
        <twisted.internet.interfaces.IResolver>} provider.

    @return: The name, or C{None} if there is none or no server answers within seconds.
    """
    pointer = ip_address(address.partition("%")[0]).reverse_pointer
    try:
        answers, _, _ = await lookupPointer(pointer, timeout=_TIMEOUTS)
    except Exception:
        return None
    names = [str(each.payload.name) for each in answers if each.type == _PTR]
    return names[0] if names else None
