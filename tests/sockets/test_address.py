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
from shout.sockets.address import describe, example, ipOf, parse, reachedAt
from tests import hosts
from tests.directory import shortDirectory


class ParseTests(SynchronousTestCase):
    """
    Tests for L{parse}.
    """

    def test_families(self) -> None:
        """
        IPv4 and IPv6 addresses are converted to the form that sockets take.
        """
        index, name = socket.if_nameindex()[0]
        for host, expected in (
            ("192.0.2.1", (socket.AF_INET, ("192.0.2.1", 7))),
            ("2001:db8::1", (socket.AF_INET6, ("2001:db8::1", 7, 0, 0))),
            (f"fe80::1%{name}", (socket.AF_INET6, ("fe80::1", 7, 0, index))),
        ):
            self.assertEqual(parse(host, 7), expected)

    def test_invalid(self) -> None:
        """
        A name, a short form and an unknown scope are not IP addresses.
        """
        for host in ("localhost", "", "127.1", "fe80::1%no-such-interface"):
            self.assertRaises(ValueError, parse, host, 7)


class IPOfTests(SynchronousTestCase):
    """
    Tests for L{ipOf}.
    """

    def test_mapped(self) -> None:
        """
        An IPv4-mapped address is converted to IPv4; other addresses are unchanged.
        """
        for host, expected in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::192.0.2.1", "::c000:201"),
        ):
            self.assertEqual(str(ipOf(host)), expected)

    def test_name(self) -> None:
        """
        A name is not an IP address.
        """
        self.assertIs(ipOf("localhost"), None)


class DescribeTests(SynchronousTestCase):
    """
    Tests for L{describe}, L{example} and L{reachedAt}.
    """

    def test_describe(self) -> None:
        """
        A UDP address has its port, and an IPv6 address has brackets.
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
        A link-local address has its interface, also in the command.
        """
        with hosts.Hosts(self).on("a"):
            [sock] = bindUDP(0, ["fe80::1%va"])
            with sock:
                port = sock.getsockname()[1]
                self.assertEqual(describe(sock), f"UDP [fe80::1%va]:{port}")
                self.assertEqual(example(sock), f"nc -u fe80::1%va {port}")

    @skipUnless(sys.platform == "linux", "only Linux has abstract names")
    def test_abstract(self) -> None:
        """
        An abstract name begins with C{@}.
        """
        with bindUNIX(f"@shout-{os.getpid()}") as sock:
            self.assertEqual(describe(sock), f"UNIX @shout-{os.getpid()}")

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_device(self) -> None:
        """
        A wildcard socket that is bound to a device is reached at an address of the
        device, or at the loopback address if the device no longer exists.
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
