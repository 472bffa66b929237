"""
Tests for L{shout.peer}.
"""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis.strategies import binary, integers, lists, tuples
from twisted.trial.unittest import SynchronousTestCase

from shout.peer import Peer, Peers, message, messages, withScope


class MessagesTests(SynchronousTestCase):
    """
    Tests for L{message} and L{messages}.
    """

    @given(lists(tuples(integers(0, 300), integers(0, 300), binary(max_size=50))))
    def test_roundTrip(self, expected: list[tuple[int, int, bytes]]) -> None:
        """
        Control messages that were put together can be taken apart.
        """
        control = b"".join(message(*each) for each in expected)
        found = [(*kind, data) for kind, data in messages(control)]
        self.assertEqual(found, expected)

    @given(binary(max_size=200))
    def test_anything(self, control: bytes) -> None:
        """
        What is not control messages gives none, or some, and no error.
        """
        size = sum(len(data) for _, data in messages(control))
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
        self.assertFalse(peer.isToGroup)

    def test_bounded(self) -> None:
        """
        However many peers there are, only so many are remembered.
        """
        peers = Peers(socket.AF_INET)
        for number in range(3 * peers.limit):
            self.assertEqual(peers[self.envelope(number)][1], number)
            self.assertLessEqual(len(peers), peers.limit)


class WithScopeTests(SynchronousTestCase):
    """
    Tests for L{withScope}.
    """

    def test_scopes(self) -> None:
        """
        A scope is the name of an interface, or its number where there is none.
        """
        index, name = socket.if_nameindex()[0]
        self.assertEqual(withScope("2001:db8::1", 0), "2001:db8::1")
        self.assertEqual(withScope("fe80::1", index), f"fe80::1%{name}")
        self.assertEqual(withScope("fe80::1", 99999), "fe80::1%99999")
