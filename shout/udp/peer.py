"""
The peer that sent a datagram, and the local address that it was sent to.

The kernel passes both as a I{raw address}: a C{sockaddr}, padded to
L{SOCKADDR_SIZE} bytes, and ancillary data, which is a list of control messages; see
cmsg(3).  One of these, C{IP_PKTINFO} or C{IPV6_PKTINFO}, has the local address.
The raw address of a reply is made likewise, so that it takes the same way back.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from functools import cached_property
from struct import Struct
from typing import Any

from .sockopt import IP_PKTINFO

SOCKADDR_SIZE = 32
"""
Bytes for the C{sockaddr} of either family at the beginning of a raw address.
"""

# struct cmsghdr: length, level, type; see cmsg(3).
_CMSGHDR = Struct("Lii")

# The port in a sockaddr, in network byte order.
_PORT = Struct("!H")


class Peer(tuple[str, int]):
    """
    The host and the port that a datagram came from.  A link-local IPv6 host
    includes its scope, as in C{fe80::1%eth0}.

    A client that sends to two local addresses is two peers, which are equal but
    not identical.

    @ivar table: The table that has decoded the peer.  Each port has one.

    @ivar rawAddress: The C{sockaddr} of the peer, and a control message that makes
        a reply leave from the local address that the peer has sent to.

    @ivar isMulticastOrBroadcast: C{True} if the peer has sent to a multicast or
        broadcast address.  A reply leaves from a unicast address of the host.

    @ivar maxSegment: Largest size in bytes that the path accepts as
        C{UDP_SEGMENT}, as far as is known.
    """

    table: Peers
    rawAddress: bytes
    isMulticastOrBroadcast: bool
    maxSegment = 65000

    @cached_property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """
        The address of the peer in the form of C{socket.socket.sendmsg}.
        """
        host, port = self
        host, _, scope = host.partition("%")
        if not scope:
            return host, port
        return host, port, 0, int.from_bytes(self.rawAddress[24:28], sys.byteorder)

    @cached_property
    def ancillaryData(self) -> list[tuple[int, int, bytes]]:
        """
        The control messages of a reply in the form of C{socket.socket.sendmsg}.
        """
        control = self.rawAddress[SOCKADDR_SIZE:]
        return [(*kind, data) for kind, data in unpackMessages(control)]


class Peers(dict[bytes, Peer]):
    """
    A bounded table of peers by raw address.  A raw address is decoded when it is
    first looked up, so the same one usually gives the same object.
    """

    limit = 8192

    def __init__(self, family: int) -> None:
        """
        @param family: C{socket.AF_INET} or C{socket.AF_INET6}.
        """
        self._decode = _decodeIPv4 if family == socket.AF_INET else _decodeIPv6

    def __missing__(self, rawAddress: bytes) -> Peer:
        if len(self) >= self.limit:
            self.clear()
        peer = self[rawAddress] = self._decode(rawAddress)
        peer.table = self
        return peer


def unpackMessages(control: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """
    Split ancillary data into control messages; see cmsg(3).

    @return: The level and the type, and the data of each.
    """
    while len(control) >= _CMSGHDR.size:
        length, level, type = _CMSGHDR.unpack_from(control)
        if not _CMSGHDR.size <= length <= len(control):
            return
        data = control[_CMSGHDR.size : length]
        yield (level, type), data
        control = control[socket.CMSG_SPACE(len(data)) :]


def packMessage(level: int, type: int, data: bytes) -> bytes:
    """
    Return a control message, padded so that another can follow; see cmsg(3).
    """
    length = socket.CMSG_LEN(len(data))
    whole = _CMSGHDR.pack(length, level, type) + data
    return whole.ljust(socket.CMSG_SPACE(len(data)), b"\0")


def _decodeIPv4(rawAddress: bytes) -> Peer:
    # struct sockaddr_in: family, port, address.
    (port,) = _PORT.unpack_from(rawAddress, 2)
    peer = Peer((socket.inet_ntoa(rawAddress[4:8]), port))
    control = dict(unpackMessages(rawAddress[SOCKADDR_SIZE:]))
    local, peer.isMulticastOrBroadcast = _localIPv4(control)
    # The interface index is 0.  Otherwise a reply would leave by the interface that
    # the datagram came in by, regardless of the routes.
    info = packMessage(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + local + bytes(4))
    peer.rawAddress = rawAddress[:SOCKADDR_SIZE] + info
    return peer


def _localIPv4(control: dict[tuple[int, int], bytes]) -> tuple[bytes, bool]:
    """
    Return the local address to send from, which is all zeros for any, and C{True}
    if the datagram was sent to a multicast or broadcast address.
    """
    # struct in_pktinfo: interface, local address, destination; see ip(7).
    info = control.get((socket.IPPROTO_IP, IP_PKTINFO), bytes(12))
    local, destination = info[4:8], info[8:12]
    if any(local):
        return local, destination != local
    # A datagram that arrived before IP_PKTINFO was enabled has no local address, but
    # a destination.  The broadcast address of a subnet cannot be recognised then; the
    # kernel refuses to send from it.
    isGroup = destination[0] >= 224
    return bytes(4) if isGroup else destination, isGroup


def _decodeIPv6(rawAddress: bytes) -> Peer:
    # struct sockaddr_in6: family, port, flow, address, scope.
    host = socket.inet_ntop(socket.AF_INET6, rawAddress[8:24])
    scope = int.from_bytes(rawAddress[24:28], sys.byteorder)
    (port,) = _PORT.unpack_from(rawAddress, 2)
    peer = Peer((withScope(host, scope), port))
    control = dict(unpackMessages(rawAddress[SOCKADDR_SIZE:]))
    # struct in6_pktinfo: destination, interface; see ipv6(7).
    info = control.get((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO), bytes(16))
    local, interface = info[:16], bytes(4)
    if rawAddress.startswith(_MAPPED, 8):
        localIPv4, peer.isMulticastOrBroadcast = _localIPv4(control)
        local = _MAPPED + localIPv4
    else:
        peer.isMulticastOrBroadcast = local[0] == 0xFF
        if peer.isMulticastOrBroadcast:
            local = bytes(16)
        elif local[0] == 0xFE and local[1] & 0xC0 == 0x80:
            # A link-local address is ambiguous without its interface.
            interface = info[16:]
    info = packMessage(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local + interface)
    peer.rawAddress = rawAddress[:SOCKADDR_SIZE] + info
    return peer


# The prefix of IPv4-mapped IPv6 addresses (RFC 4291, 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"


def withScope(host: str, scope: int) -> str:
    """
    Return an IPv6 address with its scope, as in C{fe80::1%eth0}.

    @param scope: Index of the interface; 0 for none.
    """
    if not scope:
        return host
    try:
        return f"{host}%{socket.if_indextoname(scope)}"
    except OSError:
        return f"{host}%{scope}"


def hostAndPort(address: Any) -> tuple[str, int]:
    """
    Return the host, with its scope if it has one, and the port of an IPv4 or IPv6
    address.

    @param address: The address in the form of C{socket.socket.getsockname}.
    """
    host, port, *more = address
    return withScope(host, more[1] if more else 0), port
