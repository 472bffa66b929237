"""
Tests for L{shout.sources}.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import assume, given
from hypothesis.strategies import integers, ip_addresses, lists, tuples
from twisted.trial.unittest import SynchronousTestCase

from shout.sources import Allow, refuseReflectors
from tests.properties import untimed


class RefuseReflectorsTests(SynchronousTestCase):
    """
    Tests for L{refuseReflectors}.
    """

    def test_ports(self) -> None:
        """
        Ports below 1024 and the ports of reflectors are refused; others are not.
        """
        for port in (0, 7, 19, 53, 123, 1023, 1900, 3702, 5353, 11211):
            for host in ("192.0.2.1", "2001:db8::1", "127.0.0.1"):
                self.assertEqual(refuseReflectors((host, port)), "source port")
        for port in (1024, 1901, 9999, 32768, 65535):
            self.assertIsNone(refuseReflectors(("192.0.2.1", port)))

    def test_addresses(self) -> None:
        """
        Multicast, broadcast and unspecified addresses are refused.
        """
        for host in (
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "127.255.255.255",
            "0.0.0.0",
            "::",
            "ff02::1",
            "ff02::1%eth0",
            "::ffff:224.0.0.1",
        ):
            self.assertEqual(refuseReflectors((host, 40000)), "source address")

    def test_relativePaths(self) -> None:
        """
        UNIX sockets with relative paths are refused.
        """
        for path in ("client", "run/client", "./client", "../client"):
            self.assertEqual(refuseReflectors(path), "relative path")

    def test_clients(self) -> None:
        """
        Loopback addresses, addresses of hosts and other UNIX sockets are not refused.
        """
        for addr in (
            ("127.0.0.1", 40000),
            ("127.3.2.1", 40000),
            ("::1", 40000),
            ("192.0.2.255", 40000),
            ("fe80::1%eth0", 40000),
            ("::ffff:192.0.2.1", 40000),
            ("localhost", 40000),
            "/run/client",
            b"\0client",
        ):
            self.assertIsNone(refuseReflectors(addr))


class AllowTests(SynchronousTestCase):
    """
    Tests for L{Allow}.
    """

    def test_networks(self) -> None:
        """
        Sources outside the networks are refused, except UNIX sockets.
        """
        allow = Allow(map(ip_network, ("192.0.2.0/24", "2001:db8::/32")))
        for host in ("192.0.2.1", "192.0.2.255", "2001:db8::1", "::ffff:192.0.2.1"):
            self.assertIsNone(allow((host, 40000)))
        for host in (
            "192.0.3.1",
            "127.0.0.1",
            "2001:db9::1",
            "::1",
            "::ffff:10.0.0.1",
            "no address at all",
        ):
            self.assertEqual(allow((host, 40000)), "not allowed")
        self.assertIsNone(allow("/run/client"))

    def test_mapped(self) -> None:
        """
        An IPv4-mapped network allows IPv4 sources.
        """
        allow = Allow(map(ip_network, ("::ffff:192.0.2.0/120", "::/0")))
        self.assertIsNone(allow(("192.0.2.1", 40000)))
        self.assertIsNone(allow(("::ffff:192.0.2.1", 40000)))
        self.assertIsNone(allow(("2001:db8::1", 40000)))
        self.assertEqual(allow(("192.0.3.1", 40000)), "not allowed")

    def test_allMapped(self) -> None:
        """
        The network of all IPv4-mapped addresses allows IPv4 sources only.
        """
        allow = Allow([ip_network("::ffff:0:0/96")])
        self.assertIsNone(allow(("192.0.2.1", 40000)))
        self.assertEqual(allow(("2001:db8::1", 40000)), "not allowed")

    @untimed
    @given(ip_addresses(), lists(tuples(ip_addresses(), integers(0, 128)), max_size=3))
    def test_any(self, address: Any, prefixes: Any) -> None:
        """
        An address is allowed exactly if it is in one of the networks.
        """
        # Python does not compare an IPv4-mapped address with an IPv4 network.
        ips = (address, *(ip for ip, _ in prefixes))
        assume(not any(getattr(ip, "ipv4_mapped", None) for ip in ips))
        networks = [
            ip_network((ip, min(length, ip.max_prefixlen)), strict=False)
            for ip, length in prefixes
        ]
        isAllowed = any(address in network for network in networks)
        reason = Allow(networks)((str(address), 40000))
        self.assertEqual(reason is None, isAllowed)
