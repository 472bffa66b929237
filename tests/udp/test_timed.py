"""
Tests for L{shout.udp.timed}.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from shout.sockets.bind import bindUDP, connectUDP
from shout.sockets.unix import bindUNIX, connectUNIX
from shout.udp import timed
from shout.udp.sockopt import allowFragments, omitFlowLabel
from shout.udp.timed import TimedPort
from shout.udp.timestamps import Arrivals
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK, needsIPv6, needsIPv6Sockets
from tests.hosts import Hosts, whyNot
from tests.peers import PeerCase

notLinux = "" if sys.platform == "linux" else "only Linux keeps ICMP errors"


class Timed(DatagramProtocol):
    """
    Keeps what it is told.
    """

    noisy = False

    def __init__(self) -> None:
        self.heard: Deferred[None] = Deferred()
        self.received: list[tuple[bytes, int, bool]] = []
        self.icmpErrors: list[tuple[bytes | None, str]] = []

    def arrived(
        self, datagram: bytes, now: int, delay: int, isFragmented: bool
    ) -> None:
        self.received.append((datagram, delay, isFragmented))
        self._tell()

    def refused(self, datagram: bytes | None, reason: str) -> None:
        self.icmpErrors.append((datagram, reason))
        self._tell()

    def _tell(self) -> None:
        heard, self.heard = self.heard, Deferred()
        heard.callback(None)


class Refused:
    """
    A socket that refuses some times to send.
    """

    def __init__(self, times: int) -> None:
        self._times = times

    def send(self, datagram: bytes) -> int:
        if self._times:
            self._times -= 1
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return len(datagram)


class TimedCase(PeerCase):
    """
    Makes timed ports.
    """

    def listen(self, sock: socket.socket) -> tuple[TimedPort, Timed]:
        protocol = Timed()
        port = TimedPort(sock, protocol, self.reactor)
        port.startListening()
        self.addCleanup(port.stopListening)
        return port, protocol


class TimedPortTests(TimedCase):
    """
    Tests for L{TimedPort}.
    """

    @needsBatches
    async def test_delay(self) -> None:
        """
        The time that a datagram has waited since it arrived is known.
        """
        for address in LOOPBACK:
            server = self.serveUDP(address)
            port, protocol = self.listen(connectUDP(address, server))
            port._wallClock = lambda: time.time_ns() + 10**9
            port.send([b"hello"])
            await protocol.heard
            ((datagram, delay, isFragmented),) = protocol.received
            self.assertEqual((datagram, isFragmented), (b"HELLO", False))
            self.assertTrue(port.hasKernelTimes)
            # By a clock that is a second ahead.
            self.assertLess(10**9, delay)

    async def test_long(self) -> None:
        """
        Datagrams of any size arrive whole.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        for length in (0, 1, 65507):
            port.send([b"x" * length])
            await protocol.heard
            self.assertEqual(protocol.received[-1][0], b"X" * length)

    async def test_unix(self) -> None:
        """
        A UNIX socket has no times of arrival, and carries long datagrams.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        port, protocol = self.listen(connectUNIX(path))
        port.send([b"x" * 100_000])
        await protocol.heard
        self.assertEqual(protocol.received, [(b"X" * 100_000, 0, False)])
        self.assertFalse(port.hasKernelTimes)

    async def test_refused(self) -> None:
        """
        Each refusal quotes what was refused, and the port goes on.
        """
        for address in LOOPBACK:
            (sock,) = bindUDP(0, [address])
            number = sock.getsockname()[1]
            sock.close()
            port, protocol = self.listen(connectUDP(address, number))
            sent = [b"one", b"two", b"three"]
            # The refusal of one shows in the attempt to send the next.
            for datagram in sent:
                port.send([datagram])
            while len(protocol.icmpErrors) < 3:
                await protocol.heard
            self.assertEqual(
                protocol.icmpErrors, [(each, "port unreachable") for each in sent]
            )
            self.serve(*bindUDP(number, [address]))
            port.send([b"hello"])
            await protocol.heard
            self.assertEqual(protocol.received[0][0], b"HELLO")

    if notLinux:
        test_refused.skip = notLinux  # type: ignore[attr-defined]

    async def test_unixRestarted(self) -> None:
        """
        At a UNIX socket what is sent after the server has gone is refused, and
        once another server is at its path, answered.
        """
        path = shortDirectory(self) + "/shout"
        first = bindUNIX(path)
        port, protocol = self.listen(connectUNIX(path))
        first.close()
        for _ in range(2):
            self.assertRaises(FileNotFoundError, port.send, [b"hello"])
        self.serve(bindUNIX(path))
        port.send([b"hello"])
        while not protocol.received:
            await protocol.heard
        self.assertEqual(protocol.received, [(b"HELLO", 0, False)])

    async def test_refusedUnquoted(self) -> None:
        """
        Where the system keeps no quotes, a refusal that shows in the attempt to
        send the next datagram is told without, and that one is sent.
        """
        self.patch(timed, "enableErrorQueue", lambda sock: None)
        port, protocol = self.listen(connectUDP("127.0.0.1", self.freePort()))
        port.send([b"one"])
        self.assertEqual((port.send([b"two"]), protocol.received), (1, []))
        self.assertEqual(protocol.icmpErrors, [(None, "port unreachable")])

    async def test_refusedAgain(self) -> None:
        """
        While refusals of earlier datagrams come in, it tries on, up to three
        times more.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        self.patch(timed, "readErrorQueue", lambda sock: [(b"x", "port unreachable")])
        real = port.socket
        self.addCleanup(setattr, port, "socket", real)
        for times, isSent in ((3, True), (4, False)):
            sock: Any = Refused(times)
            port.socket = sock
            protocol.icmpErrors.clear()
            if isSent:
                self.assertEqual(port.send([b"hello"]), 1)
            else:
                self.assertRaises(ConnectionRefusedError, port.send, [b"hello"])
            self.assertEqual(len(protocol.icmpErrors), times)

    async def test_nested(self) -> None:
        """
        Who reads while a batch is being delivered gets the rest of that, and
        nothing more than that when it is enough.
        """

        class Batch:
            received = 0

            def receive(self) -> Arrivals:
                self.received += 1
                return Arrivals([b"a", b"b", b"c", b"d"], [0] * 4, frozenset())

        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        batch: Any = Batch()
        port._batch = batch
        taken: list[int] = []

        def arrived(datagram: bytes, *_: object) -> None:
            if datagram == b"a":
                taken.append(port._read(2))

        self.patch(protocol, "arrived", arrived)
        port._read(1)
        self.assertEqual((taken, batch.received), ([3], 1))

    async def test_partly(self) -> None:
        """
        It is told how many of several datagrams the system has taken.
        """

        class Batch:
            def send(self, datagrams: list[bytes]) -> int:
                return len(datagrams) - 1

        port, _ = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        batch: Any = Batch()
        port._batch = batch
        self.assertEqual(port.send([b"one", b"two", b"three"]), 2)

    async def test_tooLong(self) -> None:
        """
        What is longer than a datagram can be is the sender's mistake, and not a
        refusal by the network.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        error = self.assertRaises(OSError, port.send, [b"x" * 65508])
        self.assertEqual(error.errno, errno.EMSGSIZE)
        port.send([b"hello"])
        await protocol.heard
        self.assertEqual((len(protocol.received), protocol.icmpErrors), (1, []))


class SettingTests(PeerCase):
    """
    Tests for L{allowFragments} and L{omitFlowLabel}.
    """

    def test_cannotForbid(self) -> None:
        """
        A UNIX socket has no fragments to forbid, and no flow label.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            self.assertFalse(allowFragments(sock, False))
            omitFlowLabel(sock)

    @needsIPv6Sockets
    def test_otherSystems(self) -> None:
        """
        Where the system refuses an option the socket works without it.
        """

        class Refusing(socket.socket):
            def setsockopt(self, *_: Any) -> None:
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")

        with Refusing(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            self.assertFalse(allowFragments(sock, False))
            omitFlowLabel(sock)

    @needsIPv6
    def test_flowLabel(self) -> None:
        """
        What a connected IPv6 socket sends has a flow label, unless it is omitted.
        """
        (server,) = bindUDP(0, ["::1"])
        self.addCleanup(server.close)
        # IPV6_FLOWINFO: what came without a label has no such control message.
        server.setsockopt(socket.IPPROTO_IPV6, 11, 1)
        for isOmitted in (False, True):
            with connectUDP("::1", server.getsockname()[1]) as sock:
                if isOmitted:
                    omitFlowLabel(sock)
                sock.send(b"x")
            _, ancillary, _, _ = server.recvmsg(1, 128)
            labels = [data for _, kind, data in ancillary if kind == 11]
            self.assertEqual(len(labels), 0 if isOmitted else 1)

    if notLinux:
        test_flowLabel.skip = "only Linux draws flow labels"  # type: ignore[attr-defined]


class BetweenHostsTests(TimedCase):
    """
    Tests for L{TimedPort} between two hosts.
    """

    if whyNot:
        skip = whyNot

    async def refusal(
        self, hosts: Hosts, address: str = "192.0.2.2", hops: int = 64
    ) -> str:
        """
        Return why a neighbour refuses what is sent.
        """
        with hosts.on("a"):
            sock = connectUDP(address, 22951)
        if ":" in address:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        port, protocol = self.listen(sock)
        port.send([b"hello"])
        await protocol.heard
        ((datagram, reason),) = protocol.icmpErrors
        self.assertEqual(datagram, b"hello")
        return reason

    async def test_prohibited(self) -> None:
        """
        A route that prohibits is told from a port where nothing listens.
        """
        hosts = Hosts(self)
        hosts.ip("a", "route add 198.51.100.0/24 via 192.0.2.2")
        hosts.ip("b", "route add prohibit 198.51.100.0/24")
        with hosts.on("b"), open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        self.assertEqual(
            await self.refusal(hosts, "198.51.100.1"), "administratively prohibited"
        )
        self.assertEqual(await self.refusal(hosts), "port unreachable")

    async def test_loop(self) -> None:
        """
        Where datagrams go round until they have used up their hops, that is
        said.
        """
        hosts = Hosts(self)
        for network, way in (
            ("198.51.100.0/24", "192.0.2."),
            ("2001:db8:1::/64", "2001:db8::"),
        ):
            for host, other in (("a", 2), ("b", 1)):
                hosts.ip(host, f"route add {network} via {way}{other}")
        with hosts.on("b"):
            for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{switch}", "w") as file:
                    file.write("1")
        for address in ("198.51.100.1", "2001:db8:1::1"):
            reason = await self.refusal(hosts, address, hops=1)
            self.assertEqual(reason, "time to live exceeded")

    @needsBatches
    async def test_fragments(self) -> None:
        """
        A datagram that came in fragments is told from one that did not.
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
                await protocol.heard
                self.assertEqual(protocol.received[-1][2], isFragmented)

    async def test_dontFragment(self) -> None:
        """
        With don't-fragment set, what is too long for the network is not sent,
        and what is too long for the path by what this system has learned is.
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
