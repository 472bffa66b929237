"""
Who sent a datagram, and which local address it was sent to.

The kernel gives both as an I{envelope}: the peer's address as a C{sockaddr}, and
after it control messages, one of which tells the local address.  What has to
stand around a reply so that it goes back the same way is an envelope too.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from functools import cached_property
from struct import Struct
from typing import Any

from .sockopt import IP_PKTINFO

NAME = 32
"""
The room for an address of either family at the start of an envelope.
"""

# struct cmsghdr: length, level, type; see cmsg(3).
_CMSGHDR = Struct("Lii")

# The port in a sockaddr, in the byte order of the network.
_PORT = Struct("!H")


class Peer(tuple[str, int]):
    """
    The host and the port that a datagram came from.  A link-local IPv6 host has
    its scope with it, as in C{fe80::1%eth0}.

    Whoever asks two local addresses is two peers, which are equal but not the
    same.

    @ivar origin: the table that it was decoded for: that of one port.
    @type origin: L{Peers}

    @ivar envelope: what has to stand around a reply, so that it leaves from the
        local address that was asked.
    @type envelope: L{bytes}

    @ivar isMulticastOrBroadcast: whether the local address was that of a group: broadcast or
        multicast.  Then a reply leaves from one of the host's own.
    @type isMulticastOrBroadcast: L{bool}

    @ivar longestSegment: up to how many bytes the way there is thought to take
        as C{UDP_SEGMENT}.
    @type longestSegment: L{int}
    """

    origin: Peers
    envelope: bytes
    isMulticastOrBroadcast: bool
    longestSegment = 65000

    @cached_property
    def name(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """
        Its address, as L{socket.socket.sendmsg} takes it.
        """
        host, port = self
        host, _, scope = host.partition("%")
        if not scope:
            return host, port
        return host, port, 0, int.from_bytes(self.envelope[24:28], sys.byteorder)

    @cached_property
    def control(self) -> list[tuple[int, int, bytes]]:
        """
        The control messages of the envelope, as C{sendmsg} takes them.
        """
        return [(*kind, data) for kind, data in messages(self.envelope[NAME:])]


class Peers(dict[bytes, Peer]):
    """
    The peers of envelopes, decoded once and then remembered, as long as there
    are not too many: the same envelope usually gives the same object.
    """

    limit = 8192

    def __init__(self, family: int) -> None:
        """
        @param family: L{socket.AF_INET} or L{socket.AF_INET6}.
        """
        self._decode = _decodeIPv4 if family == socket.AF_INET else _decodeIPv6

    def __missing__(self, envelope: bytes) -> Peer:
        if len(self) >= self.limit:
            self.clear()
        peer = self[envelope] = self._decode(envelope)
        peer.origin = self
        return peer


def messages(control: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """
    Take control messages apart; see cmsg(3).

    @return: for each its level and type, and its data.
    """
    while len(control) >= _CMSGHDR.size:
        length, level, type = _CMSGHDR.unpack_from(control)
        if not _CMSGHDR.size <= length <= len(control):
            return
        data = control[_CMSGHDR.size : length]
        yield (level, type), data
        control = control[socket.CMSG_SPACE(len(data)) :]


def message(level: int, type: int, data: bytes) -> bytes:
    """
    Put a control message together.
    """
    length = socket.CMSG_LEN(len(data))
    whole = _CMSGHDR.pack(length, level, type) + data
    return whole.ljust(socket.CMSG_SPACE(len(data)), b"\0")


def _decodeIPv4(envelope: bytes) -> Peer:
    # struct sockaddr_in: family, port, address.
    (port,) = _PORT.unpack_from(envelope, 2)
    peer = Peer((socket.inet_ntoa(envelope[4:8]), port))
    local, peer.isMulticastOrBroadcast = _localIPv4(dict(messages(envelope[NAME:])))
    # An interface is left out, or a reply would leave by the one that the
    # datagram came in by, whatever the routes say.
    info = message(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + local + bytes(4))
    peer.envelope = envelope[:NAME] + info
    return peer


def _localIPv4(control: dict[tuple[int, int], bytes]) -> tuple[bytes, bool]:
    """
    Return the local address that can be sent from, all zeros for any, and
    whether it was not this one but a group that was asked.
    """
    # struct in_pktinfo: interface, local address, destination; see ip(7).
    info = control.get((socket.IPPROTO_IP, IP_PKTINFO), bytes(12))
    local, destination = info[4:8], info[8:12]
    if any(local):
        return local, destination != local
    # What came before the kernel was told to say has no local address, but a
    # destination.  Not all groups can be told by that: from the broadcast address of
    # a network the kernel refuses to send.
    isMulticastOrBroadcast = destination[0] >= 224
    return bytes(4) if isMulticastOrBroadcast else destination, isMulticastOrBroadcast


def _decodeIPv6(envelope: bytes) -> Peer:
    # struct sockaddr_in6: family, port, flow, address, scope.
    host = socket.inet_ntop(socket.AF_INET6, envelope[8:24])
    scope = int.from_bytes(envelope[24:28], sys.byteorder)
    (port,) = _PORT.unpack_from(envelope, 2)
    peer = Peer((withScope(host, scope), port))
    control = dict(messages(envelope[NAME:]))
    # struct in6_pktinfo: destination, interface; see ipv6(7).
    info = control.get((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO), bytes(16))
    local, interface = info[:16], bytes(4)
    if envelope.startswith(_MAPPED, 8):
        localIPv4, peer.isMulticastOrBroadcast = _localIPv4(control)
        local = _MAPPED + localIPv4
    else:
        peer.isMulticastOrBroadcast = local[0] == 0xFF
        if peer.isMulticastOrBroadcast:
            local = bytes(16)
        elif local[0] == 0xFE and local[1] & 0xC0 == 0x80:
            # A link-local address means nothing without its interface.
            interface = info[16:]
    info = message(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local + interface)
    peer.envelope = envelope[:NAME] + info
    return peer


# How the IPv6 addresses begin that stand for IPv4 (RFC 4291, 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"


def withScope(host: str, scope: int) -> str:
    """
    Return an IPv6 address with its scope, as in C{fe80::1%eth0}.

    @param scope: the number of the interface; 0 for none.
    """
    if not scope:
        return host
    try:
        return f"{host}%{socket.if_indextoname(scope)}"
    except OSError:
        return f"{host}%{scope}"


def hostAndPort(address: Any) -> tuple[str, int]:
    """
    Return what identifies an end of IPv4 or IPv6, of what L{socket.socket} says
    about it: the host, with its scope where it has one, and the port.
    """
    host, port, *more = address
    return withScope(host, more[1] if more else 0), port
