"""
Tests for the scopes of IPv6 addresses in L{shout.udp.peer}.
"""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from shout.udp.peer import withScope


class WithScopeTests(SynchronousTestCase):
    """
    Tests for L{withScope}.
    """

    def test_scopes(self) -> None:
        """
        A scope is the name of an interface, or its number if it has no name.
        """
        index, name = socket.if_nameindex()[0]
        self.assertEqual(withScope("2001:db8::1", 0), "2001:db8::1")
        self.assertEqual(withScope("fe80::1", index), f"fe80::1%{name}")
        self.assertEqual(withScope("fe80::1", 99999), "fe80::1%99999")
