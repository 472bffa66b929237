"""
Tests for L{shout.udp.timed} between hosts.
"""

from __future__ import annotations

import errno
from typing import Any

from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.icmp import TIME_EXCEEDED, ICMPError
from shout.udp.sockopt import allowFragments
from tests.hosts import Hosts, Namespaces, Path, whyNot
from tests.udp.timedcase import TimedPortCase

# Networks behind the host b, with the address of a host in each, and that of b.
REMOTE = (
    ("198.51.100.0/24", "198.51.100.1", "192.0.2.2"),
    ("2001:db8:1::/64", "2001:db8:1::1", "2001:db8::2"),
)


class NetworkTests(TimedPortCase):
    """
    Tests for L{TimedPort<shout.udp.timed.TimedPort>} between two hosts.
    """

    if whyNot:
        skip = whyNot

    def connect(self, hosts: Namespaces, address: str) -> tuple[Any, Any]:
        """
        Start a port on a socket of the host C{a} without path MTU discovery, and
        return it and its protocol.
        """
        with hosts.on("a"):
            sock = connectUDP(address, 22951)
        allowFragments(sock, False)
        return self.listen(sock)

    async def icmpError(
        self,
        hosts: Hosts,
        address: str,
        ttl: int | None = None,
        datagram: bytes = b"hello",
    ) -> ICMPError:
        """
        Return the ICMP error that a datagram causes.
        """
        port, protocol = self.connect(hosts, address)
        self.assertEqual(port.send([datagram], ttl), 1)
        await protocol.called
        error: ICMPError
        (error,) = protocol.icmpErrors
        assert error.quote is not None
        self.assertEqual((error.quote[:5], port.totalBytes()[0]), (datagram[:5], 0))
        return error

    def route(self, hosts: Hosts, network: str, router: str, options: str = "") -> None:
        """
        Let both hosts route a network to each other.

        @param options: Options of the route at the host C{b}.
        """
        hosts.ip("a", f"route add {network} via {router}")
        hosts.ip("b", f"route add {network} via {router[:-1]}1 {options}")
        hosts.set("b", "ipv4/ip_forward", 1)
        hosts.set("b", "ipv6/conf/all/forwarding", 1)

    async def test_prohibited(self) -> None:
        """
        A prohibited route and a closed port have different descriptions.
        """
        hosts = Hosts(self)
        for network, address, router in REMOTE:
            self.route(hosts, network, router)
            hosts.ip("b", f"route add prohibit {address}")
            error = await self.icmpError(hosts, address)
            expected = ("administratively prohibited", router)
            self.assertEqual((error.reason, error.sender), expected)
            error = await self.icmpError(hosts, router)
            self.assertEqual((error.reason, error.sender), ("port unreachable", router))

    async def test_timeExceeded(self) -> None:
        """
        In a routing loop, the TTL of a datagram reaches 0.
        """
        hosts = Hosts(self)
        for network, address, router in REMOTE:
            self.route(hosts, network, router)
            error = await self.icmpError(hosts, address, ttl=1)
            self.assertEqual(error, ICMPError(TIME_EXCEEDED, router, b"hello"))

    async def test_severalHops(self) -> None:
        """
        Datagrams of one socket can have different hop limits.  Each error has its
        sender, and quotes its datagram.
        """
        path = Path(self, 1500, 1500, 1500)
        port, protocol = self.connect(path, "2001:db8:2::2")
        for ttl in 1, 2, 3:
            port.send([b"%d" % ttl], ttl)
        while len(protocol.icmpErrors) < 3:
            await protocol.called
        self.assertEqual(
            {
                error.quote: (error.reason, error.sender)
                for error in protocol.icmpErrors
            },
            {
                b"1": (TIME_EXCEEDED, "2001:db8::2"),
                b"2": (TIME_EXCEEDED, "2001:db8:1::2"),
                b"3": ("port unreachable", "2001:db8:2::2"),
            },
        )

    async def test_tooBig(self) -> None:
        """
        A router reports the MTU that a datagram exceeds, each time.
        """
        hosts = Hosts(self)
        for (network, address, router), reason in zip(
            REMOTE, ("fragmentation needed (MTU 1400)", "packet too big (MTU 1400)")
        ):
            self.route(hosts, network, router, "mtu lock 1400")
            for _ in range(2):
                error = await self.icmpError(hosts, address, datagram=bytes(1400))
                self.assertEqual(
                    (error.reason, error.sender, error.mtu), (reason, router, 1400)
                )

    async def test_scope(self) -> None:
        """
        The address of a link-local sender has its scope.
        """
        hosts = Hosts(self)
        with hosts.on("a"):
            error = await self.icmpError(hosts, "fe80::2%va")
        self.assertEqual((error.sender, error.mtu), ("fe80::2%va", None))

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
