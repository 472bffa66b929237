"""
The written form of socket addresses, and the addresses at which this host reaches its
own sockets.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from shlex import quote
from typing import Any

from shout.udp.peer import hostAndPort

EVERYWHERE = ("0.0.0.0", "::")
"""
The wildcard addresses of IPv4 and IPv6.
"""

# From linux/if.h.
_IFNAMSIZ = 16


def parse(host: str, port: int) -> tuple[int, Any]:
    """
    Convert an IP address to the form that C{socket.socket} takes, without a look-up.

    @param host: An IPv4 or IPv6 address.  An IPv6 address may carry a scope.

    @return: The address family, and the address.

    @raise ValueError: C{host} is not an IP address, or its scope is not an interface
        of this host.
    """
    ip_address(host)
    try:
        # Text would make Python import the codec for international names.
        found = socket.getaddrinfo(
            host.encode(), port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror as e:
        raise ValueError(str(e)) from e
    family, _, _, _, address = found[0]
    return family, address


def ipOf(host: str) -> IPv4Address | IPv6Address | None:
    """
    Return the IP address of a host; C{None} if the host is a name.  An IPv4-mapped IPv6
    address (RFC 4291, 2.5.5.2) becomes an IPv4 address.
    """
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return (ip.version == 6 and ip.ipv4_mapped) or ip


def authority(host: str, port: int) -> str:
    """
    Join a host and a port as in a URI, with an IPv6 address in brackets (RFC 3986,
    3.2).  The scope of an IPv6 address is not percent-encoded.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def describe(sock: socket.socket) -> str:
    """
    Format the address of a socket for people: C{UDP 127.0.0.1:9999}, C{UDP
    [::1]:9999}, C{UDP [fe80::1%eth0]:9999}, C{UNIX /run/shout} or, for an abstract
    name, C{UNIX @shout}.
    """
    if sock.family == socket.AF_UNIX:
        return "UNIX " + pathOf(sock)
    return "UDP " + authority(*hostAndPort(sock.getsockname()))


def pathOf(sock: socket.socket) -> str:
    """
    Return the path of a UNIX socket, or C{@} and its abstract name.
    """
    return os.fsdecode(sock.getsockname()).replace("\0", "@", 1)


def isWildcard(sock: socket.socket) -> bool:
    """
    Return C{True} for a socket that is bound to all IPv4 or all IPv6 addresses.
    """
    return sock.family != socket.AF_UNIX and sock.getsockname()[0] in EVERYWHERE


def familyName(sock: socket.socket) -> str:
    """
    Return the address family of a UDP socket: C{IPv4} or C{IPv6}.
    """
    return "IPv6" if sock.family == socket.AF_INET6 else "IPv4"


def reachedAt(sock: socket.socket) -> tuple[str, int]:
    """
    Return a host and a port at which this host reaches a UDP socket.

    For a wildcard address the host is the loopback address, or an address of the
    device that the socket is bound to.
    """
    host, port = hostAndPort(sock.getsockname())
    if host in EVERYWHERE:
        host = _addressAtDevice(sock) or ("::1" if ":" in host else "127.0.0.1")
    return host, port


def _addressAtDevice(sock: socket.socket) -> str:
    """
    Return an address of the device that a UDP socket is bound to (C{SO_BINDTODEVICE};
    see socket(7)), or an empty string.
    """
    if sys.platform != "linux":
        return ""
    option = socket.SOL_SOCKET, socket.SO_BINDTODEVICE
    # The device may no longer exist, or have no address.
    with suppress(OSError), socket.socket(sock.family, socket.SOCK_DGRAM) as other:
        device = sock.getsockopt(*option, _IFNAMSIZ)
        if device:
            other.setsockopt(*option, device)
            # This sends nothing: connect(2) only selects the source address.
            anywhere = "0.0.0.0" if sock.family == socket.AF_INET else "ff02::1"
            other.connect((anywhere, 1))
            return hostAndPort(other.getsockname())[0]
    return ""


def example(sock: socket.socket) -> str:
    """
    Return a shell command that sends a datagram to a socket.
    """
    if sock.family == socket.AF_UNIX:
        return f"shout --unix {quote(pathOf(sock))} hello"
    host, port = reachedAt(sock)
    return f"nc -u {host} {port}"
