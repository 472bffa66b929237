"""
The address families of this host, for tests that also run without IPv6.
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
C{True} if IPv6 is on, so that there is an IPv6 loopback address.
"""

hasIPv6Sockets = _canBind("::")
"""
C{True} if the kernel has IPv6, even if it is off.  Then C{::} can be bound.
"""

needsIPv6 = skipUnless(hasIPv6, "IPv6 is off on this host")
needsIPv6Sockets = skipUnless(hasIPv6Sockets, "the kernel has no IPv6")


def eachFamily(ipv4: T, ipv6: T) -> tuple[T, ...]:
    """
    Return the value for IPv4 and, if IPv6 is on, the value for IPv6.
    """
    return (ipv4, ipv6) if hasIPv6 else (ipv4,)


LOOPBACK = eachFamily("127.0.0.1", "::1")
"""
One loopback address per address family.
"""

PAIR = ("127.0.0.1", "::1" if hasIPv6 else "127.0.0.2")
"""
Two loopback addresses, one of them IPv6 if IPv6 is on.
"""

EVERYWHERE = ("0.0.0.0", "::") if hasIPv6Sockets else ("0.0.0.0",)
"""
The addresses that a server binds by default.
"""
