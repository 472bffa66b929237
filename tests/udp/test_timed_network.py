"""
Tests for L{shout.udp.timed} between hosts.
"""

from __future__ import annotations

import errno

from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.icmp import TIME_EXCEEDED
from shout.udp.sockopt import allowFragments
from tests.hosts import Hosts, whyNot
from tests.udp.timedcase import TimedPortCase


class NetworkTests(TimedPortCase):
    """
    Tests for L{TimedPort} between two hosts.
    """

    if whyNot:
        skip = whyNot

    async def icmpError(
        self, hosts: Hosts, address: str = "192.0.2.2", ttl: int | None = None
    ) -> tuple[str, str | None]:
        """
        Return the description and the sender of the ICMP error that a datagram causes.
        """
        with hosts.on("a"):
            sock = connectUDP(address, 22951)
        port, protocol = self.listen(sock)
        self.assertEqual(port.send([b"hello"], ttl), 1)
        await protocol.called
        (error,) = protocol.icmpErrors
        self.assertEqual(error.quote, b"hello")
        self.assertEqual(port.totalBytes(), (0, 5))
        return error.reason, error.sender

    async def test_prohibited(self) -> None:
        """
        A prohibited route and a closed port have different descriptions.
        """
        hosts = Hosts(self)
        hosts.ip("a", "route add 198.51.100.0/24 via 192.0.2.2")
        hosts.ip("b", "route add prohibit 198.51.100.0/24")
        with hosts.on("b"), open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        expected = ("administratively prohibited", "192.0.2.2")
        self.assertEqual(await self.icmpError(hosts, "198.51.100.1"), expected)
        expected = ("port unreachable", "192.0.2.2")
        self.assertEqual(await self.icmpError(hosts), expected)

    async def test_routingLoop(self) -> None:
        """
        In a routing loop, the TTL of a datagram reaches 0.
        """
        hosts = Hosts(self)
        for network, gateway in (
            ("198.51.100.0/24", "192.0.2."),
            ("2001:db8:1::/64", "2001:db8::"),
        ):
            for host, other in (("a", 2), ("b", 1)):
                hosts.ip(host, f"route add {network} via {gateway}{other}")
        with hosts.on("b"):
            for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{switch}", "w") as file:
                    file.write("1")
        for address, router in (
            ("198.51.100.1", "192.0.2.2"),
            ("2001:db8:1::1", "2001:db8::2"),
        ):
            error = await self.icmpError(hosts, address, ttl=1)
            self.assertEqual(error, (TIME_EXCEEDED, router))

    async def test_fragments(self) -> None:
        """
        A datagram that arrived in fragments is reported as such.
        """
        hosts = Hosts(self, mtu=1400)
        for address in ("192.0.2.2", "2001:db8::2"):
            with hosts.on("b"):
                sockets = bindUDP(22952, [address])
            self.serve(*sockets)
            with hosts.on("a"):
                sock = connectUDP(address, 22952)
            allowFragments(sock, True)
            port, protocol = self.listen(sock)
            for length, isFragmented in ((100, False), (3000, True)):
                port.send([b"x" * length])
                await protocol.called
                self.assertEqual(protocol.received[-1][2].isFragmented, isFragmented)

    async def test_dontFragment(self) -> None:
        """
        With don't-fragment set, a datagram that exceeds the MTU of the network is not
        sent.  One that exceeds the path MTU of the route is.
        """
        hosts = Hosts(self, mtu=1400)
        for address in ("192.0.2.2", "2001:db8::2"):
            hosts.ip("a", f"route add {address} dev va mtu 1300")
        for address, largest in (("192.0.2.2", 1372), ("2001:db8::2", 1352)):
            with hosts.on("a"):
                sock = connectUDP(address, 22953)
            allowFragments(sock, False)
            port, _ = self.listen(sock)
            port.send([b"x" * largest])
            error = self.assertRaises(OSError, port.send, [b"x" * (largest + 1)])
            self.assertEqual(error.errno, errno.EMSGSIZE)
