"""
Tests for L{shout.sockets.address}.
"""

from __future__ import annotations

import os
import socket
import sys
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP, bindUNIX
from shout.sockets.address import describe, example, reachedAt
from shout.udp.peer import withScope
from tests import hosts
from tests.directory import shortDirectory


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


class DescribeTests(SynchronousTestCase):
    """
    Tests for L{describe}, L{example} and L{reachedAt}.
    """

    def test_describe(self) -> None:
        """
        An address is written as people write it, with its port.
        """
        for sock, expected in zip(bindUDP(0), ("UDP 0.0.0.0", "UDP [::]")):
            with sock:
                port = sock.getsockname()[1]
                self.assertEqual(describe(sock), f"{expected}:{port}")
        with bindUNIX(os.path.join(shortDirectory(self), "s")) as sock:
            self.assertEqual(describe(sock), f"UNIX {sock.getsockname()}")

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_linkLocal(self) -> None:
        """
        A link-local address is written with its interface, also where it is said
        how to ask there.
        """
        with hosts.Hosts(self).on("a"):
            [sock] = bindUDP(0, ["fe80::1%va"])
            with sock:
                port = sock.getsockname()[1]
                self.assertEqual(describe(sock), f"UDP [fe80::1%va]:{port}")
                self.assertEqual(example(sock), f"nc -u fe80::1%va {port}")

    @skipUnless(sys.platform == "linux", "abstract names exist on Linux alone")
    def test_abstract(self) -> None:
        """
        An abstract name is written with an C{@}.
        """
        with bindUNIX(f"@shout-{os.getpid()}") as sock:
            self.assertEqual(describe(sock), f"UNIX @shout-{os.getpid()}")

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_device(self) -> None:
        """
        A socket at all addresses of one device is reached at the device's address,
        and when the device has gone where others are.
        """
        pair = hosts.Hosts(self)
        with pair.on("a"):
            sockets = bindUDP(0)
        for sock in sockets:
            self.addCleanup(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"va")
        with pair.on("a"):
            reached = [reachedAt(sock)[0] for sock in sockets]
            self.assertEqual(reached, ["192.0.2.1", "fe80::1%va"])
            pair.ip("a", "link delete va")
            reached = [reachedAt(sock)[0] for sock in sockets]
            self.assertEqual(reached, ["127.0.0.1", "::1"])
