"""
Tests for L{shout.measure.target}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from shout.measure.target import Target, reach
from shout.request import Refused, UnknownHost, Unreachable
from shout.sockets.bind import bindUDP
from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import LOOPBACK, hasIPv6, hasIPv6Sockets
from tests.hosts import Hosts, whyNot
from tests.peers import PeerCase
from tests.sockets.test_resolve import ResolverReactor


class TargetTests(PeerCase):
    """
    Tests for L{Target}.
    """

    def test_names(self) -> None:
        """
        A target is shown as the user named it, with its address where that is
        another one.
        """
        for target, expected in (
            (Target("192.0.2.1", "192.0.2.1", 1), "192.0.2.1:1"),
            (Target("2001:db8::1", "2001:db8::1", 1), "[2001:db8::1]:1"),
            (Target("a.example", "192.0.2.1", 1), "a.example (192.0.2.1:1)"),
            (Target("a.example", "2001:db8::1", 1), "a.example ([2001:db8::1]:1)"),
            (Target("/run/s", "/run/s", None), "/run/s"),
        ):
            self.assertEqual(str(target), expected)

    def test_kinds(self) -> None:
        """
        The loopback and UNIX sockets are local, an address that cannot be sent to
        is not, and a UNIX socket has no IP version, whatever its path.
        """
        for address, port, isLocal, isIPv6 in (
            ("127.0.0.1", 1, True, False),
            ("127.9.9.9", 1, True, False),
            ("::1", 1, hasIPv6, True),
            ("0.0.0.0", 1, True, False),
            ("::ffff:127.0.0.1", 1, hasIPv6Sockets, True),
            ("255.255.255.255", 1, False, False),
            ("192.0.2.1", 1, False, False),
            ("fe80::1%lo", 1, False, True),
            ("/a:b", None, True, False),
        ):
            target = Target("h", address, port)
            self.assertEqual((target.isLocal, target.isIPv6), (isLocal, isIPv6))

    def test_largest(self) -> None:
        """
        How large a datagram can be depends on what carries it.
        """
        for address, port, largest in (
            ("192.0.2.1", 1, 65507),
            ("::1", 1, 65527),
            ("/run/s", None, 212960),
        ):
            self.assertEqual(Target("h", address, port).largest, largest)

    def test_own(self) -> None:
        """
        The address of this host is local, those of a neighbour and of all are not.
        """
        hosts = Hosts(self)
        for address, isLocal in (
            ("192.0.2.1", True),
            ("2001:db8::1", True),
            ("192.0.2.2", False),
            ("2001:db8::2", False),
            ("192.0.2.255", False),
        ):
            with hosts.on("a"):
                self.assertEqual(Target("h", address, 1).isLocal, isLocal, address)

    if whyNot:
        test_own.skip = whyNot  # type: ignore[attr-defined]

    def test_open(self) -> None:
        """
        Each time it is opened there is another socket, which is connected.
        """
        (server,) = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(server.close)
        port = server.getsockname()[1]
        target = Target("127.0.0.1", "127.0.0.1", port)
        with target.open() as first, target.open() as second:
            self.assertNotEqual(first.getsockname(), second.getsockname())
            self.assertEqual(first.getpeername(), ("127.0.0.1", port))
            self.assertFalse(first.getblocking())


class ReachTests(PeerCase):
    """
    Tests for L{reach}.
    """

    def reach(
        self,
        host: str = "127.0.0.1",
        unix: str | None = None,
        family: int = socket.AF_UNSPEC,
        reactor: Any = None,
    ) -> Deferred[Target]:
        reaching = reach(host, 22954, unix, family, reactor or self.reactor)
        return Deferred.fromCoroutine(reaching)

    async def test_address(self) -> None:
        """
        An address is taken as it is.
        """
        for host in LOOPBACK:
            self.assertEqual(await self.reach(host), Target(host, host, 22954))

    async def test_name(self) -> None:
        """
        A name leads to the first of its addresses to which there is a way.
        """
        reactor = ResolverReactor()
        reactor.addresses = [
            IPv4Address("UDP", host, 22954)
            for host in ("255.255.255.255", "127.0.0.1", "127.0.0.2")
        ]
        reaching = self.reach("example.com", None, socket.AF_INET, reactor)
        reactor.complete()
        target = await reaching
        self.assertEqual(target, Target("example.com", "127.0.0.1", 22954))

    async def test_unknown(self) -> None:
        """
        A name without an address is unknown, and so is an address of the other
        family.
        """
        await self.assertFailure(self.reach("a" * 64), UnknownHost)
        await self.assertFailure(self.reach("::1", None, socket.AF_INET), UnknownHost)

    async def test_noWay(self) -> None:
        """
        An address that cannot be sent to is unreachable.
        """
        await self.assertFailure(self.reach("255.255.255.255"), Unreachable)

    async def test_unix(self) -> None:
        """
        A UNIX socket is reached at its path, when something listens there.
        """
        path = shortDirectory(self) + "/shout"
        await self.assertFailure(self.reach(unix=path), Refused)
        server = bindUNIX(path)
        self.addCleanup(server.close)
        self.assertEqual(await self.reach(unix=path), Target(path, path, None))
