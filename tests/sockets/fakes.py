"""
Fakes for tests that resolve names.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer
from zope.interface.verify import verifyObject

ADDRESSES = [
    IPv6Address("UDP", "2001:db8::1", 9999),
    IPv4Address("UDP", "192.0.2.1", 9999),
    IPv6Address("UDP", "fe80::1", 9999, 0, 2),
]


@implementer(IHostnameResolver, IHostResolution)
class ResolverReactor:
    """
    A reactor that is its own resolver, for one name.
    """

    name = "example.com"

    def __init__(self) -> None:
        self.nameResolver = self
        self.addresses: Sequence[IAddress] = ADDRESSES
        self.lookups = 0
        self.receivers: list[IResolutionReceiver] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        assert transportSemantics == "UDP"
        verifyObject(IResolutionReceiver, resolutionReceiver)
        resolutionReceiver.resolutionBegan(self)
        self.lookups += 1
        self.receivers.append(resolutionReceiver)
        for address in self.addresses if hostName == self.name else []:
            if addressTypes is None or type(address) in addressTypes:
                resolutionReceiver.addressResolved(address)
        return self

    def cancel(self) -> None:
        raise NotImplementedError

    def complete(self) -> None:
        """
        Complete all look-ups.
        """
        while self.receivers:
            self.receivers.pop().resolutionComplete()
