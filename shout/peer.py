"""
Who sent a datagram, and which local address it was sent to.

Both come from the kernel as an I{envelope}: the peer's address as a C{sockaddr},
and after it the control message that tells of the local address.
"""

from __future__ import annotations

import socket
import sys

# The room for an address of either family, and for an envelope with one more,
# short control message.
NAME = 32
PKTINFO = NAME + socket.CMSG_LEN(0)
ENVELOPE = 128

# From linux/in.h; Python 3.11 and earlier do not have it.
IP_PKTINFO = 8


class Peer(tuple[str, int]):
    """
    The host and the port that a datagram came from.  A link-local IPv6 host has
    its scope with it, as in C{fe80::1%eth0}.

    @ivar name: its address, as L{socket.socket.sendmsg} takes it.
    @type name: L{tuple}

    @ivar control: the ancillary data, as C{sendmsg} takes it, with which a reply
        leaves from the local address that the peer has asked.
    @type control: L{list} of (L{int}, L{int}, L{bytes})
    """

    name: tuple[str, int] | tuple[str, int, int, int]
    control: list[tuple[int, int, bytes]]


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
        return peer


def _decodeIPv4(envelope: bytes) -> Peer:
    host = socket.inet_ntoa(envelope[4:8])
    peer = Peer((host, int.from_bytes(envelope[2:4], "big")))
    peer.name = peer
    info = envelope[PKTINFO : PKTINFO + 12]
    peer.control = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
    return peer


def _decodeIPv6(envelope: bytes) -> Peer:
    host = socket.inet_ntop(socket.AF_INET6, envelope[8:24])
    port = int.from_bytes(envelope[2:4], "big")
    scope = int.from_bytes(envelope[24:28], sys.byteorder)
    peer = Peer((f"{host}%{_interface(scope)}" if scope else host, port))
    peer.name = (host, port, 0, scope)
    info = envelope[PKTINFO : PKTINFO + 20]
    peer.control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    return peer


def _interface(scope: int) -> str:
    try:
        return socket.if_indextoname(scope)
    except OSError:
        return str(scope)
