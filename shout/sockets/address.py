"""
How the addresses of sockets are written, for people and for the system, and where
this host reaches its own sockets.
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
All addresses of a host, by family.
"""

# From linux/if.h.
_IFNAMSIZ = 16


def parse(host: str, port: int) -> tuple[int, Any]:
    """
    Turn an IP address into the form that L{socket.socket} takes, without asking
    a name server.

    @param host: an IPv4 or IPv6 address; an IPv6 address may carry a scope.

    @return: the address family, and the address.

    @raise ValueError: when C{host} is not an IP address, or its scope is not an
        interface of this host.
    """
    ip_address(host)
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror as e:
        raise ValueError(str(e)) from e
    family, _, _, _, address = found[0]
    return family, address


def unmapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """
    Return an IP address as IPv4 where it is IPv4-mapped (RFC 4291, 2.5.5.2).
    """
    return (ip.version == 6 and ip.ipv4_mapped) or ip


def authority(host: str, port: int) -> str:
    """
    Return a host and a port as URIs have them, with an IPv6 address in brackets
    (RFC 3986, 3.2), but with its scope as people write it.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def describe(sock: socket.socket) -> str:
    """
    Return the address of a socket as people write it: C{UDP 127.0.0.1:9999},
    C{UDP [::1]:9999}, C{UDP [fe80::1%eth0]:9999}, C{UNIX /run/shout} or, abstract,
    C{UNIX @shout}.
    """
    if sock.family == socket.AF_UNIX:
        return "UNIX " + pathOf(sock)
    return "UDP " + authority(*hostAndPort(sock.getsockname()))


def pathOf(sock: socket.socket) -> str:
    """
    Return the path of a UNIX socket, or its abstract name with an C{@} before it.
    """
    return os.fsdecode(sock.getsockname()).replace("\0", "@", 1)


def isWildcard(sock: socket.socket) -> bool:
    """
    Whether a socket is bound to all IPv4 or all IPv6 addresses of this host.
    """
    return sock.family != socket.AF_UNIX and sock.getsockname()[0] in EVERYWHERE


def familyName(sock: socket.socket) -> str:
    """
    Return the name of the address family of a UDP socket: C{IPv4} or C{IPv6}.
    """
    return "IPv6" if sock.family == socket.AF_INET6 else "IPv4"


def reachedAt(sock: socket.socket) -> tuple[str, int]:
    """
    Return a host and a port at which this host reaches a UDP socket: where it is
    bound to all addresses, the loopback, or what the host is called at the device
    that it is bound to besides.
    """
    host, port = hostAndPort(sock.getsockname())
    if host in EVERYWHERE:
        host = _addressAtDevice(sock) or ("::1" if ":" in host else "127.0.0.1")
    return host, port


def _addressAtDevice(sock: socket.socket) -> str:
    """
    Return an address of this host at the device that a UDP socket is bound to
    (C{SO_BINDTODEVICE}; see socket(7)); an empty string where there is no such.
    """
    if sys.platform != "linux":
        return ""
    option = socket.SOL_SOCKET, socket.SO_BINDTODEVICE
    # The device may have gone since, or have no address.
    with suppress(OSError), socket.socket(sock.family, socket.SOCK_DGRAM) as other:
        device = sock.getsockopt(*option, _IFNAMSIZ)
        if device:
            other.setsockopt(*option, device)
            # Nothing is sent: to connect is to choose an address to send from.
            there = "0.0.0.0" if sock.family == socket.AF_INET else "ff02::1"
            other.connect((there, 1))
            return hostAndPort(other.getsockname())[0]
    return ""


def example(sock: socket.socket) -> str:
    """
    Return a command that asks the service at a socket.
    """
    if sock.family == socket.AF_UNIX:
        return f"shout --unix {quote(pathOf(sock))} hello"
    host, port = reachedAt(sock)
    return f"nc -u {host} {port}"
