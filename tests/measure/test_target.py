"""
Tests for L{shout.measure.target}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from shout.measure.target import Target, resolveTarget
from shout.request import Refused, UnknownHost, Unreachable
from shout.sockets.bind import bindUDP
from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import LOOPBACK, hasIPv6, hasIPv6Sockets
from tests.hosts import Hosts, whyNot
from tests.peers import PeerCase
from tests.sockets.fakes import ResolverReactor


class TargetTests(PeerCase):
    """
    Tests for L{Target}.
    """

    def test_str(self) -> None:
        """
        A target is shown as the user named it, with its address if that differs.
        """
        for target, expected in (
            (Target("192.0.2.1", "192.0.2.1", 1), "192.0.2.1:1"),
            (Target("2001:db8::1", "2001:db8::1", 1), "[2001:db8::1]:1"),
            (Target("a.example", "192.0.2.1", 1), "a.example (192.0.2.1:1)"),
            (Target("a.example", "2001:db8::1", 1), "a.example ([2001:db8::1]:1)"),
            (Target("/run/s", "/run/s", None), "/run/s"),
        ):
            self.assertEqual(str(target), expected)

    def test_properties(self) -> None:
        """
        The loopback and UNIX sockets are local, and unreachable addresses are not.  A
        UNIX socket has no IP version, whatever its path.
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
        The largest datagram depends on the transport.
        """
        for address, port, largest in (
            ("192.0.2.1", 1, 65507),
            ("::1", 1, 65527),
            ("/run/s", None, 212960),
        ):
            self.assertEqual(Target("h", address, port).largest, largest)

    def test_isLocal(self) -> None:
        """
        Addresses of this host are local.  Those of a neighbour, and the broadcast
        address, are not.
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
        test_isLocal.skip = whyNot  # type: ignore[attr-defined]

    def test_open(self) -> None:
        """
        L{Target.open} makes a new, connected socket.
        """
        (server,) = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(server.close)
        port = server.getsockname()[1]
        target = Target("127.0.0.1", "127.0.0.1", port)
        with target.open() as first, target.open() as second:
            self.assertNotEqual(first.getsockname(), second.getsockname())
            self.assertEqual(first.getpeername(), ("127.0.0.1", port))
            self.assertFalse(first.getblocking())


class ResolveTargetTests(PeerCase):
    """
    Tests for L{resolveTarget}.
    """

    def resolve(
        self,
        host: str = "127.0.0.1",
        unix: str | None = None,
        family: int = socket.AF_UNSPEC,
        reactor: Any = None,
    ) -> Deferred[Target]:
        reactor = reactor or self.reactor
        return Deferred.fromCoroutine(resolveTarget(host, 22954, unix, family, reactor))

    async def test_address(self) -> None:
        """
        An address is its own result.
        """
        for host in LOOPBACK:
            self.assertEqual(await self.resolve(host), Target(host, host, 22954))

    async def test_name(self) -> None:
        """
        A name is resolved to the first of its addresses that can be reached.
        """
        reactor = ResolverReactor()
        reactor.addresses = [
            IPv4Address("UDP", host, 22954)
            for host in ("255.255.255.255", "127.0.0.1", "127.0.0.2")
        ]
        resolving = self.resolve("example.com", None, socket.AF_INET, reactor)
        reactor.complete()
        target = await resolving
        self.assertEqual(target, Target("example.com", "127.0.0.1", 22954))

    async def test_unknown(self) -> None:
        """
        A name without an address is an unknown host, and so is an address of the
        other family.
        """
        await self.assertFailure(self.resolve("a" * 64), UnknownHost)
        await self.assertFailure(self.resolve("::1", None, socket.AF_INET), UnknownHost)

    async def test_unreachable(self) -> None:
        """
        An address to which no socket can be connected is unreachable.
        """
        await self.assertFailure(self.resolve("255.255.255.255"), Unreachable)

    async def test_unix(self) -> None:
        """
        A UNIX socket is its path, if something listens there.
        """
        path = shortDirectory(self) + "/shout"
        await self.assertFailure(self.resolve(unix=path), Refused)
        server = bindUNIX(path)
        self.addCleanup(server.close)
        self.assertEqual(await self.resolve(unix=path), Target(path, path, None))
