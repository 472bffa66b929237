"""
Tests for L{shout.udp.peer}.
"""

from __future__ import annotations

import socket
import sys

from hypothesis import given
from hypothesis.strategies import binary, integers, lists, tuples
from twisted.trial.unittest import SynchronousTestCase

from shout.udp.peer import Peer, Peers, packMessage, unpackMessages
from shout.udp.sockopt import IP_PKTINFO


class MessagesTests(SynchronousTestCase):
    """
    Tests for L{message} and L{messages}.
    """

    @given(lists(tuples(integers(0, 300), integers(0, 300), binary(max_size=50))))
    def test_roundTrip(self, expected: list[tuple[int, int, bytes]]) -> None:
        """
        Control messages that were put together can be taken apart.
        """
        control = b"".join(packMessage(*each) for each in expected)
        found = [(*kind, data) for kind, data in unpackMessages(control)]
        self.assertEqual(found, expected)

    def test_cutShort(self) -> None:
        """
        A message of which the end is missing is none.
        """
        whole = packMessage(1, 2, bytes(8))
        self.assertEqual(list(unpackMessages(whole[:-1])), [])
        self.assertEqual(list(unpackMessages(whole + whole[:-1])), [((1, 2), bytes(8))])

    @given(binary(max_size=200))
    def test_anything(self, control: bytes) -> None:
        """
        What is not control messages gives none, or some, and no error.
        """
        size = sum(len(data) for _, data in unpackMessages(control))
        self.assertLessEqual(size, len(control))


class PeersTests(SynchronousTestCase):
    """
    Tests for L{Peers}.
    """

    def envelope(self, number: int) -> bytes:
        """
        Make the envelope of an IPv4 datagram.
        """
        return b"\2\0" + number.to_bytes(2, "big") + bytes([192, 0, 2, 1]) + bytes(56)

    def test_decodes(self) -> None:
        """
        An envelope is decoded into the peer's host and port.
        """
        peer = Peers(socket.AF_INET)[self.envelope(4000)]
        self.assertIsInstance(peer, Peer)
        self.assertEqual(peer, ("192.0.2.1", 4000))
        self.assertFalse(peer.isMulticastOrBroadcast)

    def test_interface(self) -> None:
        """
        A reply may leave by any interface, but for one from a link-local
        address, which means nothing without its own.
        """
        peers = Peers(socket.AF_INET6)
        for asked, expected in (
            ("2001:db8::1", 0),
            ("fe80::1", 7),
            ("febf::1", 7),
            ("fec0::1", 0),
            ("2080::1", 0),
        ):
            local = socket.inet_pton(socket.AF_INET6, asked)
            info = local + (7).to_bytes(4, sys.byteorder)
            name = b"\x0a\0\x30\x39" + bytes(28)
            control = packMessage(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)
            [(_, _, data)] = peers[name + control].ancillaryData
            self.assertEqual(data[:16], local)
            self.assertEqual(data[16:], expected.to_bytes(4, sys.byteorder))

    def test_scope(self) -> None:
        """
        A link-local peer is known, and sent to, with its scope.
        """
        host = socket.inet_pton(socket.AF_INET6, "fe80::1")
        scope = 0x7F020304
        # What follows the address belongs to nobody.
        end = scope.to_bytes(4, sys.byteorder) + b"\xff" * 4
        peer = Peers(socket.AF_INET6)[b"\x0a\0\x0f\xa0" + bytes(4) + host + end]
        self.assertEqual(peer, (f"fe80::1%{scope}", 4000))
        self.assertEqual(peer.sockaddr, ("fe80::1", 4000, 0, scope))

    def test_nothingAsked(self) -> None:
        """
        Where the kernel does not say which address was asked, a reply leaves from
        any, and by any interface.
        """
        for family, size in ((socket.AF_INET, 12), (socket.AF_INET6, 20)):
            [(_, _, data)] = Peers(family)[bytes(32)].ancillaryData
            self.assertEqual(data, bytes(size))

    def test_groups(self) -> None:
        """
        A group that was asked is known as such, also where the kernel does not
        say which local address goes with it; a reply cannot leave from there.  What
        else was asked is what a reply leaves from.
        """
        v4, v6 = Peers(socket.AF_INET), Peers(socket.AF_INET6)
        mapped = bytes(10) + b"\xff\xff"
        name = b"\2\0\x30\x39" + bytes(28)
        mappedName = b"\x0a\0\x30\x39" + bytes(4) + mapped + bytes(12)
        for local, asked, expected, source in (
            ("192.0.2.1", "192.0.2.1", False, "192.0.2.1"),
            ("192.0.2.1", "192.0.2.255", True, "192.0.2.1"),
            ("0.0.0.0", "192.0.2.1", False, "192.0.2.1"),
            ("0.0.0.0", "223.255.255.255", False, "223.255.255.255"),
            ("0.0.0.0", "224.0.0.1", True, "0.0.0.0"),
            ("0.0.0.0", "255.255.255.255", True, "0.0.0.0"),
        ):
            addresses = socket.inet_aton(local) + socket.inet_aton(asked)
            info = packMessage(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + addresses)
            sourceBytes = socket.inet_aton(source)
            for peer, control in (
                (v4[name + info], bytes(4) + sourceBytes + bytes(4)),
                (v6[mappedName + info], mapped + sourceBytes + bytes(4)),
            ):
                self.assertEqual(peer.isMulticastOrBroadcast, expected)
                [(_, _, data)] = peer.ancillaryData
                self.assertEqual(data, control)

    def test_groupIPv6(self) -> None:
        """
        So it is with IPv6.
        """
        group = socket.inet_pton(socket.AF_INET6, "ff02::1")
        control = packMessage(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, group + bytes(4))
        peer = Peers(socket.AF_INET6)[b"\x0a\0\x30\x39" + bytes(28) + control]
        self.assertTrue(peer.isMulticastOrBroadcast)
        [(_, _, data)] = peer.ancillaryData
        self.assertEqual(data, bytes(20))

    def test_remembered(self) -> None:
        """
        The same envelope gives the same peer, whatever comes in between.
        """
        peers = Peers(socket.AF_INET)
        first = peers[self.envelope(1)]
        self.assertIsNot(peers[self.envelope(2)], first)
        self.assertIs(peers[self.envelope(1)], first)

    def test_bounded(self) -> None:
        """
        However many peers there are, only so many are remembered.
        """
        peers = Peers(socket.AF_INET)
        for number in range(3 * peers.limit):
            self.assertEqual(peers[self.envelope(number)][1], number)
            self.assertLessEqual(len(peers), peers.limit)
