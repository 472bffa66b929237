"""
The peer that sent a datagram, and the local address that it was sent to.

The kernel passes the local address in a control message, C{IP_PKTINFO} or
C{IPV6_PKTINFO}; see ip(7) and ipv6(7).  A reply gets such a message, too, so that it
takes the same way back.  With L{copyTOS<shout.udp.sockopt.copyTOS>} it also gets the
type of service.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any

from .sockopt import IP_PKTINFO, TOS_MESSAGES

SOCKADDR_SIZE = 32
"""
Bytes for the C{sockaddr} of either family at the beginning of a raw address.
"""

# struct cmsghdr: length, level, type; see cmsg(3).
_CMSGHDR = Struct("Lii")

# The port in a sockaddr, in network byte order.
_PORT = Struct("!H")

# The prefix of IPv4-mapped IPv6 addresses (RFC 4291, 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"

ControlMessage = tuple[int, int, bytes]
"""
The level, the type and the data of a control message; see cmsg(3).
"""


class Peer(tuple[str, int]):
    """
    The host and the port that a datagram came from.  A link-local IPv6 host
    includes its scope, as in C{fe80::1%eth0}.

    A client that sends to two local addresses is two peers, which are equal but
    not identical.  A copy, or a pickled peer, is a plain tuple.

    @ivar owner: The port that has received the datagram.

    @ivar isMulticastOrBroadcast: C{True} if the peer has sent to a multicast or
        broadcast address.  A reply leaves from a unicast address of the host.

    @ivar sockaddr: The address of the peer in the form of C{socket.socket.sendmsg};
        C{None} on a connected socket, except on Linux.

    @ivar ancillaryData: The control messages of a reply, in the form of
        C{socket.socket.sendmsg}.  They make it leave from the local address that the
        peer has sent to.

    @ivar rawAddress: The C{sockaddr} of the peer, padded to L{SOCKADDR_SIZE} bytes,
        and the control messages, as the kernel takes them.  Only L{decodeRaw} sets it.

    @ivar maxSegment: Largest size in bytes that the path accepts as
        C{UDP_SEGMENT}, as far as is known.
    """

    owner: object
    isMulticastOrBroadcast: bool
    sockaddr: tuple[Any, ...] | None
    ancillaryData: list[ControlMessage]
    rawAddress: bytes
    maxSegment = 65000

    def __reduce__(self) -> Any:
        # In another process there is no port that owns the peer.
        return tuple, (tuple(self),)


def decodeRaw(rawAddress: bytes) -> Peer:
    """
    Return the peer of a datagram.

    @param rawAddress: The C{sockaddr}, padded to L{SOCKADDR_SIZE} bytes, and the
        control messages, as the kernel returns them.
    """
    # struct sockaddr_in: family, port, address.
    # struct sockaddr_in6: family, port, flow, address, scope.
    family = int.from_bytes(rawAddress[:2], sys.byteorder)
    (port,) = _PORT.unpack_from(rawAddress, 2)
    if family == socket.AF_INET:
        address: tuple[Any, ...] = socket.inet_ntoa(rawAddress[4:8]), port
    else:
        host = socket.inet_ntop(socket.AF_INET6, rawAddress[8:24])
        address = host, port, 0, int.from_bytes(rawAddress[24:28], sys.byteorder)
    control = unpackMessages(rawAddress[SOCKADDR_SIZE:])
    peer = decode(address, [(*kind, data) for kind, data in control])
    packed = b"".join(packMessage(*each) for each in peer.ancillaryData)
    peer.rawAddress = rawAddress[:SOCKADDR_SIZE] + packed
    return peer


def decode(address: tuple[Any, ...], ancillaryData: list[ControlMessage]) -> Peer:
    """
    Return the peer of a datagram.

    @param address: The address in the form of C{socket.socket.recvmsg}.

    @param ancillaryData: The control messages.
    """
    control = {(level, type): data for level, type, data in ancillaryData}
    peer = Peer(hostAndPort(address))
    if len(address) == 2:
        peer.sockaddr = address
        local, peer.isMulticastOrBroadcast = _localIPv4(control)
        # The interface index is 0.  Otherwise a reply would leave by the interface
        # that the datagram came in by, regardless of the routes.
        data = bytes(4) + local + bytes(4)
        message = socket.IPPROTO_IP, IP_PKTINFO, data
    else:
        peer.sockaddr = (*address[:2], 0, address[3])
        local, peer.isMulticastOrBroadcast = _localIPv6(address[0], control)
        message = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local
    peer.ancillaryData = [message] if any(message[2]) else []
    peer.ancillaryData += _typeOfService(control)
    return peer


def _typeOfService(control: Mapping[tuple[int, int], bytes]) -> list[ControlMessage]:
    """
    Return the message that makes a reply leave with the DSCP of its datagram, if that
    has arrived with one other than 0.  The two bits for ECN are 0: they are between a
    sender and the routers (RFC 3168).
    """
    for kind in TOS_MESSAGES.values():
        dscp = int.from_bytes(control.get(kind, b""), sys.byteorder) & 0xFC
        if dscp:
            return [(*kind, dscp.to_bytes(4, sys.byteorder))]
    return []


def _localIPv4(control: Mapping[tuple[int, int], bytes]) -> tuple[bytes, bool]:
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


def _localIPv6(
    host: str, control: Mapping[tuple[int, int], bytes]
) -> tuple[bytes, bool]:
    """
    Return the C{in6_pktinfo} of a reply, and C{True} if the datagram was sent to a
    multicast or broadcast address.

    @param host: The address of the peer.
    """
    if socket.inet_pton(socket.AF_INET6, host.partition("%")[0]).startswith(_MAPPED):
        local, isGroup = _localIPv4(control)
        return _MAPPED + local + bytes(4), isGroup
    # struct in6_pktinfo: destination, interface; see ipv6(7).
    info = control.get((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO), bytes(20))
    if info[0] == 0xFF:
        return bytes(20), True
    # A link-local address is ambiguous without its interface.
    isLinkLocal = info[0] == 0xFE and info[1] & 0xC0 == 0x80
    return info if isLinkLocal else info[:16] + bytes(4), False


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
