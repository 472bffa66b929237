"""
The address families of this host, for tests that also run where IPv6 is off.
"""

from __future__ import annotations

import socket
from typing import TypeVar
from unittest import skipUnless

T = TypeVar("T")


def _canBind(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


hasIPv6 = _canBind("::1")
"""
Whether IPv6 is on, so that the loopback has an IPv6 address.
"""

hasIPv6Sockets = _canBind("::")
"""
Whether the kernel has IPv6, even if it is off.  All IPv6 addresses can be bound then.
"""

needsIPv6 = skipUnless(hasIPv6, "IPv6 is off on this host")
needsIPv6Sockets = skipUnless(hasIPv6Sockets, "the kernel has no IPv6")


def eachFamily(ipv4: T, ipv6: T) -> tuple[T, ...]:
    """
    Return what a test needs for IPv4, and what it needs for IPv6 if IPv6 is on.
    """
    return (ipv4, ipv6) if hasIPv6 else (ipv4,)


LOOPBACK = eachFamily("127.0.0.1", "::1")
"""
One loopback address of each family.
"""

PAIR = ("127.0.0.1", "::1" if hasIPv6 else "127.0.0.2")
"""
Two loopback addresses, of both families if IPv6 is on.
"""

EVERYWHERE = ("0.0.0.0", "::") if hasIPv6Sockets else ("0.0.0.0",)
"""
The addresses that a server binds without C{--interface}.
"""
