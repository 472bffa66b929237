"""
Who may have asked, as far as the source address of a datagram tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from shout.sockets.address import unmapped

REFLECTORS = frozenset({1900, 3702, 5353, 11211})
"""
Ports from 1024 on whose services answer anybody: SSDP, WS-Discovery, multicast
DNS and memcached.  They are among the protocols of the alert TA14-017A of the
CISA; its others have ports below 1024, or are games and file sharing, whose ports
honest clients use too.
"""

SourceRule = Callable[[Any], "str | None"]
"""
Is given a peer's address; returns why that gets no answer, in a word or two, or
L{None}.  Reasons are counted and logged, so they must come from a small, fixed
set.  A rule is asked once about a source, whose verdict is then remembered.
"""


def refuseReflectors(addr: Any) -> str | None:
    """
    Refuse sources that are forged, or that hardly a client has: the ports below
    1024 and those of L{REFLECTORS}, and addresses that are not one host's.  A
    datagram that seems to come from there makes whoever answers it the weapon.

    A UNIX socket with a relative path is refused, too: here it would name
    another one.
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


_BROADCAST = (IPv4Address("255.255.255.255"), IPv4Address("127.255.255.255"))


class Allow:
    """
    Refuse all sources but those of some networks.  UNIX sockets are not refused:
    the permissions of their paths say who may write to them.
    """

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        """
        @param networks: those that are answered.
        """
        # Prefixes by version and by how many bits follow them, so that it takes no
        # longer with many networks.
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for network in map(_unmapped, networks):
            version, rest = network.version, network.max_prefixlen - network.prefixlen
            prefixes = self._prefixes.setdefault((version, rest), set())
            prefixes.add(int(network.network_address) >> rest)

    def __call__(self, addr: Any) -> str | None:
        """
        Be a L{SourceRule}.
        """
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
    Return a network as IPv4 where it is one (RFC 4291, 2.5.5.2).
    """
    mapped = network.version == 6 and network.network_address.ipv4_mapped
    # A network whose address is IPv4-mapped has a prefix of at least 96 bits.
    return IPv4Network((mapped, network.prefixlen - 96)) if mapped else network


def ipOf(host: str) -> IPv4Address | IPv6Address | None:
    """
    Return the IP address of a host, as IPv4 where it is one; L{None} for a name.
    """
    try:
        return unmapped(ip_address(host))
    except ValueError:
        return None
