"""
Rules about the source address of a datagram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

from shout.sockets.address import ipOf

REFLECTORS = frozenset({1900, 3702, 5353, 11211})
"""
Ports of reflectors, services that answer any source, from 1024 on: SSDP, WS-Discovery,
multicast DNS and memcached.

They are in the alert TA14-017A of the CISA.  Its other protocols have ports below 1024,
or are games and file sharing, whose ports real clients use too.
"""

SourceRule = Callable[[Any], "str | None"]
"""
A function from a peer's address to the reason why that peer gets no reply, or C{None}.

Reasons are counted and logged, so they are a few words from a small, fixed set.  The
result for an address is remembered.
"""

_BROADCAST = (IPv4Address("255.255.255.255"), IPv4Address("127.255.255.255"))


def refuseReflectors(addr: Any) -> str | None:
    """
    Refuse sources that are probably forged.  A reply to them would be an attack on a
    third party, or start a loop with another service.

    They are ports below 1024, the ports in L{REFLECTORS}, and addresses that do not
    belong to one host.  A UNIX socket with a relative path is refused too: in this
    process the path would name another socket.
    """
    if isinstance(addr, str):
        return None if addr.startswith("/") else "relative path"
    if not isinstance(addr, tuple):
        return None
    if addr[1] < 1024 or addr[1] in REFLECTORS:
        return "source port"
    ip = ipOf(addr[0])
    if ip and (ip.is_multicast or ip.is_unspecified or ip in _BROADCAST):
        return "source address"
    return None


class Allow:
    """
    A L{SourceRule} that refuses all sources outside some networks.

    UNIX sockets are not refused: the permissions of a path restrict its writers.
    """

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        """
        @param networks: The networks that get replies.
        """
        # Prefixes by IP version and number of host bits, so that many networks are
        # no slower than a few.
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for network in map(_unmapped, networks):
            version, rest = network.version, network.max_prefixlen - network.prefixlen
            prefixes = self._prefixes.setdefault((version, rest), set())
            prefixes.add(int(network.network_address) >> rest)

    def __call__(self, addr: Any) -> str | None:
        if not isinstance(addr, tuple):
            return None
        ip = ipOf(addr[0])
        if ip is not None and any(
            ip.version == version and int(ip) >> rest in prefixes
            for (version, rest), prefixes in self._prefixes.items()
        ):
            return None
        return "not allowed"


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """
    Convert a network of IPv4-mapped addresses (RFC 4291, 2.5.5.2) to IPv4.
    """
    mapped = network.version == 6 and network.network_address.ipv4_mapped
    # A network whose address is IPv4-mapped has a prefix of at least 96 bits.
    return IPv4Network((mapped, network.prefixlen - 96)) if mapped else network
