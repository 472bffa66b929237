"""
Tests for L{shout.measure.target}.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from shout.measure import target as targetModule
from shout.measure.target import (
    OptionError,
    SocketOptions,
    Target,
    openSockets,
    resolveTarget,
)
from shout.request import Refused, UnknownHost, Unreachable
from shout.sockets.bind import bindUDP
from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import LOOPBACK, hasIPv6, hasIPv6Sockets
from tests.hosts import Hosts, whyNot
from tests.peers import PeerCase
from tests.sockets.fakes import ResolverReactor

# From linux/in.h; Python does not have it.
IP_MTU_DISCOVER = 10


UNSET = SocketOptions()


class SocketOptionsTests(SynchronousTestCase):
    """
    Tests for L{SocketOptions}.
    """

    def open(self, address: str, **options: Any) -> socket.socket:
        """
        Open a socket that is closed when the test ends.
        """
        sock = Target("h", address, 22953).open(SocketOptions(**options))
        self.addCleanup(sock.close)
        return sock

    def refuse(self, address: str, **options: Any) -> str:
        """
        Return the message about a wrong option.
        """
        return str(self.assertRaises(OptionError, self.open, address, **options))

    def test_source(self) -> None:
        """
        The socket sends from the source.
        """
        sock = self.open("127.0.0.1", source="127.0.0.2")
        self.assertEqual(sock.getsockname()[0], "127.0.0.2")

    def test_foreignSource(self) -> None:
        """
        A source that is not an address of this host is refused.
        """
        for source, peer in (("192.0.2.77", "127.0.0.1"), ("2001:db8::77", "::1")):
            if ":" not in source or hasIPv6:
                self.assertEqual(
                    self.refuse(peer, source=source),
                    f"{source} is not an address of this host; see `ip address`",
                )

    def test_header(self) -> None:
        """
        The TTL, or the hop limit, and the type of service, or the traffic class, are
        set.
        """
        for address, level, ttl, tos in (
            ("127.0.0.1", socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS),
            (
                "::1",
                socket.IPPROTO_IPV6,
                socket.IPV6_UNICAST_HOPS,
                socket.IPV6_TCLASS,
            ),
        ):
            if address in LOOPBACK:
                sock = self.open(address, ttl=7, tos=185)
                self.assertEqual(sock.getsockopt(level, ttl), 7)
                self.assertEqual(sock.getsockopt(level, tos), 185)

    @skipUnless(sys.platform == "linux", "only Linux has the option")
    def test_mayFragment(self) -> None:
        """
        Don't-fragment is set or not.
        """
        modes = [
            self.open("127.0.0.1", mayFragment=may).getsockopt(
                socket.IPPROTO_IP, IP_MTU_DISCOVER
            )
            for may in (False, None, True)
        ]
        # IP_PMTUDISC_PROBE, the default of the system, and IP_PMTUDISC_DONT.
        self.assertEqual((modes[0], modes[2]), (3, 0))
        self.assertIn(modes[1], (0, 1))

    @skipUnless(sys.platform == "linux", "only Linux binds sockets to devices")
    def test_device(self) -> None:
        """
        The socket is bound to the device.
        """
        sock = self.open("127.0.0.1", device="lo")
        option = socket.SOL_SOCKET, socket.SO_BINDTODEVICE
        self.assertEqual(sock.getsockopt(*option, 16).rstrip(b"\0"), b"lo")

    def test_unknownDevice(self) -> None:
        """
        A device that does not exist is refused, also if the beginning of its name is
        that of another.
        """
        for device in ("lo77", "lo" + 20 * "0"):
            self.assertEqual(
                self.refuse("127.0.0.1", device=device),
                f"cannot send through {device}: no such device",
            )

    def test_unsupported(self) -> None:
        """
        An option that the system lacks, or that this user may not set, is refused with
        the reason.
        """

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        for name, option in (
            ("setTTL", {"ttl": 1}),
            ("setTOS", {"tos": 1}),
            ("bindToDevice", {"device": "lo"}),
        ):
            self.patch(targetModule, name, refuse)
            message = self.refuse("127.0.0.1", **option)
            self.assertRegex(message, "^cannot .+: operation not permitted$")

    def test_otherSystems(self) -> None:
        """
        Systems other than Linux have no devices to send through, and no
        don't-fragment.
        """
        self.patch(sys, "platform", "darwin")
        for option, expected in (
            ({"device": "lo"}, "cannot send through lo: protocol not available"),
            ({"mayFragment": False}, "cannot set don't-fragment: not on this system"),
        ):
            self.assertEqual(self.refuse("127.0.0.1", **option), expected)


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
            self.assertEqual((target.isOnThisHost(), target.isIPv6), (isLocal, isIPv6))

    def test_largest(self) -> None:
        """
        The largest datagram, and the length of its headers, depend on the transport.
        """
        for address, port, largest, headers in (
            ("192.0.2.1", 1, 65507, 28),
            ("::1", 1, 65527, 48),
            ("/run/s", None, 212960, 0),
        ):
            target = Target("h", address, port)
            self.assertEqual((target.largest, target.headers), (largest, headers))

    def test_isOnThisHost(self) -> None:
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
                target = Target("h", address, 1)
                self.assertEqual(target.isOnThisHost(), isLocal, address)

    if whyNot:
        test_isOnThisHost.skip = whyNot  # type: ignore[attr-defined]

    def test_isOnThisHostWithOptions(self) -> None:
        """
        Another source makes no difference.  Through a device, an address of the
        loopback can be elsewhere.
        """
        hosts = Hosts(self)
        hosts.ip("a", "route add default via 192.0.2.2")
        for address, source, device, isLocal in (
            ("192.0.2.1", "192.0.2.3", "", True),
            ("127.0.0.1", "192.0.2.1", "", True),
            ("192.0.2.2", "192.0.2.1", "va", False),
            ("192.0.2.1", "", "va", True),
            ("127.0.0.1", "", "lo", True),
            ("127.0.0.1", "", "va", False),
        ):
            options = SocketOptions(source, device)
            with hosts.on("a"):
                isOnThisHost = Target("h", address, 1).isOnThisHost(options)
            self.assertEqual(isOnThisHost, isLocal, (address, source, device))

    if whyNot:
        test_isOnThisHostWithOptions.skip = whyNot  # type: ignore[attr-defined]

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


class FullTarget(Target):
    """
    A target that a system without room opens no socket to.
    """

    number = 0

    def open(
        self, options: SocketOptions = UNSET, sourcePort: int = 0
    ) -> socket.socket:
        raise OSError(self.number, os.strerror(self.number))


class OpenSocketsTests(SynchronousTestCase):
    """
    Tests for L{openSockets}.
    """

    def test_sockets(self) -> None:
        """
        Each target has a socket for each source port, which targets can share.
        """
        targets = [Target("h", f"127.0.0.{number}", 22953) for number in (1, 2)]
        first = openSockets(targets, [0, 0], SocketOptions())
        ports = [sock.getsockname()[1] for sock in first[0]]
        for sock in [*first[0], *first[1]]:
            sock.close()
        for ofTarget in openSockets(targets, ports, SocketOptions(isShared=True)):
            self.assertEqual([sock.getsockname()[1] for sock in ofTarget], ports)
            for sock in ofTarget:
                sock.close()

    def test_full(self) -> None:
        """
        An error tells what the system has too few of.
        """
        targets = [FullTarget("h", "127.0.0.1", 22953)] * 3
        for number, port, expected in (
            (errno.EMFILE, 0, "the limit of open files is too low for 6"),
            (errno.EAGAIN, 0, "there are too few source ports for 6"),
            (errno.EADDRINUSE, 0, "there are too few source ports for 6"),
            (errno.EADDRINUSE, 7, "source port 7: address already in use"),
            (errno.ENETUNREACH, 0, os.strerror(errno.ENETUNREACH)),
        ):
            self.patch(FullTarget, "number", number)
            ports = [port, 8]
            error = self.assertRaises(OSError, openSockets, targets, ports, UNSET)
            self.assertEqual(error.errno, number)
            self.assertTrue(str(error.strerror).startswith(expected), error)


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
        options: SocketOptions = UNSET,
    ) -> Deferred[Target]:
        reactor = reactor or self.reactor
        resolving = resolveTarget(host, 22954, unix, family, reactor, options)
        return Deferred.fromCoroutine(resolving)

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

    async def test_options(self) -> None:
        """
        Only an address that can be reached with the options of the socket counts, and
        a wrong option is no matter of the address.
        """
        options = SocketOptions("127.0.0.1")
        await self.assertFailure(
            self.resolve("192.0.2.1", options=options), Unreachable
        )
        options = SocketOptions("192.0.2.77")
        await self.assertFailure(self.resolve(options=options), OptionError)

    async def test_unix(self) -> None:
        """
        A UNIX socket is its path, if something listens there.
        """
        path = shortDirectory(self) + "/shout"
        await self.assertFailure(self.resolve(unix=path), Refused)
        server = bindUNIX(path)
        self.addCleanup(server.close)
        self.assertEqual(await self.resolve(unix=path), Target(path, path, None))
