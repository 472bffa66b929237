"""
Tests for L{shout.udp.peer}.
"""

from __future__ import annotations

import socket
import sys

from hypothesis import given, settings
from hypothesis.strategies import binary, integers, lists, tuples
from twisted.trial.unittest import SynchronousTestCase

from shout.udp.peer import Peer, decodeRaw, packMessage, unpackMessages
from shout.udp.sockopt import IP_PKTINFO
from tests.properties import untimed


class MessageTests(SynchronousTestCase):
    """
    Tests for L{packMessage} and L{unpackMessages}.
    """

    @settings(untimed, max_examples=50)
    @given(lists(tuples(integers(0, 300), integers(0, 300), binary(max_size=50))))
    def test_roundTrip(self, expected: list[tuple[int, int, bytes]]) -> None:
        """
        Packed control messages can be unpacked.
        """
        control = b"".join(packMessage(*each) for each in expected)
        found = [(*kind, data) for kind, data in unpackMessages(control)]
        self.assertEqual(found, expected)

    def test_truncated(self) -> None:
        """
        A truncated message is ignored.
        """
        whole = packMessage(1, 2, bytes(8))
        self.assertEqual(list(unpackMessages(whole[:-1])), [])
        self.assertEqual(list(unpackMessages(whole + whole[:-1])), [((1, 2), bytes(8))])

    @untimed
    @given(binary(max_size=200))
    def test_arbitrary(self, control: bytes) -> None:
        """
        Arbitrary bytes raise no exception.
        """
        size = sum(len(data) for _, data in unpackMessages(control))
        self.assertLessEqual(size, len(control))


class DecodeRawTests(SynchronousTestCase):
    """
    Tests for L{decodeRaw}.
    """

    def rawAddress(self, number: int) -> bytes:
        """
        Return the raw address of an IPv4 datagram with a source port.
        """
        return b"\2\0" + number.to_bytes(2, "big") + bytes([192, 0, 2, 1]) + bytes(56)

    def test_decodes(self) -> None:
        """
        A raw address is decoded into the host and the port of the peer.
        """
        peer = decodeRaw(self.rawAddress(4000))
        self.assertIsInstance(peer, Peer)
        self.assertEqual(peer, ("192.0.2.1", 4000))
        self.assertFalse(peer.isMulticastOrBroadcast)

    def test_interface(self) -> None:
        """
        A reply may leave by any interface, except from a link-local address, which
        is ambiguous without its interface.
        """
        for address, expected in (
            ("2001:db8::1", 0),
            ("fe80::1", 7),
            ("febf::1", 7),
            ("fec0::1", 0),
            ("2080::1", 0),
        ):
            local = socket.inet_pton(socket.AF_INET6, address)
            info = local + (7).to_bytes(4, sys.byteorder)
            name = b"\x0a\0\x30\x39" + bytes(28)
            control = packMessage(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)
            [(_, _, data)] = decodeRaw(name + control).ancillaryData
            self.assertEqual(data[:16], local)
            self.assertEqual(data[16:], expected.to_bytes(4, sys.byteorder))

    def test_scope(self) -> None:
        """
        The host and the C{sockaddr} of a link-local peer include its scope.
        """
        host = socket.inet_pton(socket.AF_INET6, "fe80::1")
        scope = 0x7F020304
        # The padding after the sockaddr is undefined.
        end = scope.to_bytes(4, sys.byteorder) + b"\xff" * 4
        peer = decodeRaw(b"\x0a\0\x0f\xa0" + bytes(4) + host + end)
        self.assertEqual(peer, (f"fe80::1%{scope}", 4000))
        self.assertEqual(peer.sockaddr, ("fe80::1", 4000, 0, scope))

    def test_noPacketInfo(self) -> None:
        """
        Without packet information a reply may leave from any address, and by any
        interface.
        """
        for family in b"\2\0", b"\x0a\0":
            self.assertEqual(decodeRaw(family + bytes(30)).ancillaryData, [])

    def test_multicastAndBroadcast(self) -> None:
        """
        Multicast and broadcast addresses are recognised, also without a local address,
        and a reply does not leave from them.  It leaves from any other address that
        the datagram was sent to.
        """
        mapped = bytes(10) + b"\xff\xff"
        name = b"\2\0\x30\x39" + bytes(28)
        mappedName = b"\x0a\0\x30\x39" + bytes(4) + mapped + bytes(12)
        for local, destination, expected, source in (
            ("192.0.2.1", "192.0.2.1", False, "192.0.2.1"),
            ("192.0.2.1", "192.0.2.255", True, "192.0.2.1"),
            ("0.0.0.0", "192.0.2.1", False, "192.0.2.1"),
            ("0.0.0.0", "223.255.255.255", False, "223.255.255.255"),
            ("0.0.0.0", "224.0.0.1", True, "0.0.0.0"),
            ("0.0.0.0", "255.255.255.255", True, "0.0.0.0"),
        ):
            addresses = socket.inet_aton(local) + socket.inet_aton(destination)
            info = packMessage(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + addresses)
            sourceBytes = socket.inet_aton(source)
            for peer, control in (
                (decodeRaw(name + info), bytes(4) + sourceBytes + bytes(4)),
                (decodeRaw(mappedName + info), mapped + sourceBytes + bytes(4)),
            ):
                self.assertEqual(peer.isMulticastOrBroadcast, expected)
                data = [data for _, _, data in peer.ancillaryData]
                self.assertEqual(data, [control] if any(control) else [])

    def test_multicastIPv6(self) -> None:
        """
        IPv6 multicast addresses are recognised, and a reply does not leave from them.
        """
        group = socket.inet_pton(socket.AF_INET6, "ff02::1")
        control = packMessage(
            socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, group + bytes(4)
        )
        peer = decodeRaw(b"\x0a\0\x30\x39" + bytes(28) + control)
        self.assertTrue(peer.isMulticastOrBroadcast)
        self.assertEqual(peer.ancillaryData, [])
