"""
Tests for L{shout.measure.mtu}.
"""

from __future__ import annotations

import socket
import sys
from typing import Any
from unittest import skipUnless

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from shout.measure.mtu import MTUResult, comesBack, findMTU, search
from shout.measure.probe import MIN_SIZE
from shout.measure.result import LOST, REFUSED, REPLY, WRONG, Event
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner
from shout.measure.target import Target
from shout.sockets.unix import bindUNIX
from shout.udp.icmp import ICMPError
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK, needsIPv6
from tests.hosts import Hosts, Path
from tests.measure.paths import PathCase
from tests.peers import PeerCase
from tests.properties import untimed


class SearchTests(PeerCase):
    """
    Tests for L{search}.
    """

    def search(
        self, least: int, most: int, largest: int, pause: int = 0
    ) -> tuple[int | None, int]:
        """
        Return the size found if C{largest} works, and the number of attempts.

        @param pause: The attempt that fails in any case, from 1; 0 for none.
        """
        sizes = []

        async def attempt(size: int) -> bool:
            self.assertTrue(least <= size <= most)
            sizes.append(size)
            return size <= largest and len(sizes) != pause

        searching = Deferred.fromCoroutine(search(attempt, least, most))
        return self.successResultOf(searching), len(sizes)

    @untimed
    @given(st.integers(32, 65507))
    def test_found(self, largest: int) -> None:
        """
        The largest size that works is found with few attempts.
        """
        found, attempts = self.search(32, 65507, largest)
        self.assertEqual(found, largest)
        self.assertLessEqual(attempts, 19)

    @untimed
    @given(st.integers(32, 65507), st.integers(1, 18))
    def test_pause(self, largest: int, pause: int) -> None:
        """
        The largest size is found, too, if one attempt fails by accident.
        """
        found, attempts = self.search(32, 65507, largest, pause)
        self.assertEqual(found, largest)
        self.assertLessEqual(attempts, 36)

    def test_none(self) -> None:
        """
        If the smallest size fails twice, no other is tried.
        """
        self.assertEqual(self.search(32, 65507, 31), (None, 2))

    def test_most(self) -> None:
        """
        If the largest size works, two attempts are enough.
        """
        self.assertEqual(self.search(32, 65507, 65507), (65507, 2))


class FindMTUTests(PeerCase):
    """
    Tests for L{findMTU}.
    """

    def find(
        self,
        address: str,
        port: int | None,
        timeout: float = 1.0,
        like: MTUResult | None = None,
    ) -> Deferred[MTUResult]:
        self.steps: list[Any] = []
        target = Target(address, address, port)
        self.sock = target.open()
        self.addCleanup(self.sock.close)
        runner = SearchRunner(target, self.reactor)
        return Deferred.fromCoroutine(
            findMTU(
                runner,
                self.sock,
                timeout,
                lambda *step: self.steps.append(step),
                like,
            )
        )

    async def test_unix(self) -> None:
        """
        Through a UNIX socket the largest datagram is that which its buffer holds.
        There is no path MTU.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        found = await self.find(path, None)
        assert found.whole is not None
        self.assertLess(65507, found.whole)
        self.assertIsNone(found.unfragmented)
        self.assertIsNone(found.pathMTU)

    async def test_largest(self) -> None:
        """
        The largest datagram that a server answers completely is found.  All datagrams
        are sent from the given socket.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()[:65506]])
        found = await self.find("127.0.0.1", port, 0.1)
        self.assertEqual(found.whole, 65506)
        self.assertEqual(set(peer.senders), {self.sock.getsockname()})

    @skipUnless(sys.platform == "linux", "only Linux generates flow labels")
    @needsIPv6
    async def test_flowLabel(self) -> None:
        """
        Datagrams have no IPv6 flow label.
        """
        await self.find("::1", self.serveUDP("::1"))
        label = self.sock.getsockopt(socket.IPPROTO_IPV6, 70)
        self.assertEqual(label, 0)

    async def test_like(self) -> None:
        """
        If the first flow had a narrower path, even for fragments, other flows still
        have path MTUs of their own.
        """
        _, port = self.misbehave(lambda datagram: [datagram.upper()[:1472]])
        first = MTUResult(1372, 1372, 28, 65507)
        found = await self.find("127.0.0.1", port, 0.3, first)
        self.assertEqual((found.whole, found.unfragmented), (1472, 1472))

    async def test_late(self) -> None:
        """
        A reply to a size that was tried earlier does not count for another one.
        """
        right = [b""]

        def answer(datagram: bytes) -> list[bytes]:
            if len(datagram) < 65507:
                right.append(datagram.upper())
            return right[-2:]

        _, port = self.misbehave(answer)
        found = await self.find("127.0.0.1", port, 0.1)
        self.assertEqual(found.whole, 65506)

    async def test_nothing(self) -> None:
        """
        If nothing comes back, no size is found.
        """
        _, port = self.misbehave(lambda datagram: [])
        found = await self.find("127.0.0.1", port, 0.02)
        self.assertIsNone(found.whole)
        self.assertEqual(self.steps, [(MIN_SIZE, True, False)] * 2)


class ScriptedRunner:
    """
    A L{SearchRunner} whose measurements have the given events.

    @ivar left: The events of the measurements to come.

    @ivar ended: The return value of C{isLast} for each event of the last one.
    """

    target = Target(LOOPBACK[-1], LOOPBACK[-1], 9)

    def __init__(self, *measurements: list[Event]) -> None:
        self.left = list(measurements)

    async def measure(self, schedule: Schedule, sock: Any, isLast: Any) -> None:
        self.ended = [isLast(event) for event in self.left.pop(0)]


class ComesBackTests(PeerCase):
    """
    Tests for L{comesBack}.
    """

    def check(self, runner: Any, mayFragment: bool, isBack: bool) -> None:
        sock: Any = None
        attempt = Deferred.fromCoroutine(
            comesBack(runner, sock, 9000, 1.0, mayFragment)
        )
        self.assertEqual(self.successResultOf(attempt), isBack)
        self.assertEqual(runner.left, [])

    def test_narrowPath(self) -> None:
        """
        If datagrams are too long for a network on the path, the size is tried again
        until the kernel has learned its MTU.  With don't-fragment set, the size does
        not come back.
        """
        tooBig = [
            Event(REFUSED, number, error=ICMPError("too big", mtu=1400))
            for number in (1, 2, 3)
        ]
        for measurements, mayFragment, isBack in (
            ([tooBig, tooBig, [Event(REPLY, 1, 9000)]], True, True),
            ([tooBig, [Event(LOST, 1)]], True, False),
            ([tooBig] * 8, True, False),
            ([tooBig], False, False),
        ):
            self.check(ScriptedRunner(*measurements), mayFragment, isBack)

    def test_lastEvent(self) -> None:
        """
        A reply, an ICMP error and the third loss end the measurement.  An ICMP error
        without a number does not: it may be about a size tried earlier.
        """
        for event, isLast in (
            (Event(REPLY, 1, 9000), True),
            (Event(REFUSED, 1, detail="port unreachable"), True),
            (Event(REFUSED, None, detail="port unreachable"), False),
            (Event(LOST, 3), True),
            (Event(LOST, 2), False),
            (Event(WRONG, 3), False),
        ):
            runner = ScriptedRunner([event])
            self.check(runner, True, event.kind == REPLY)
            self.assertEqual(runner.ended, [isLast])

    async def test_thirdTry(self) -> None:
        """
        A size that is lost twice and then answered comes back.
        """
        seen: list[bytes] = []

        def answer(datagram: bytes) -> list[bytes]:
            seen.append(datagram)
            return [datagram.upper()] if len(seen) == 3 else []

        _, port = self.misbehave(answer)
        target = Target("127.0.0.1", "127.0.0.1", port)
        with target.open() as sock:
            runner = SearchRunner(target, self.reactor)
            self.assertTrue(await comesBack(runner, sock, 100, 1.0, True))


class PathMTUTests(PathCase):
    """
    Tests for L{findMTU} between two hosts.
    """

    async def check(
        self, address: str, expected: MTUResult, backwards: str = ""
    ) -> None:
        hosts = Hosts(self, mtu=1400)
        if backwards:
            hosts.ip("b", backwards)
        self.assertEqual(await self.find(hosts, "b", address), expected)

    async def test_ipv4(self) -> None:
        """
        The path MTU over IPv4 is that of the network, and larger datagrams come back
        in fragments.
        """
        expected = MTUResult(65507, 1372, 28, 65507)
        await self.check("192.0.2.2", expected)
        self.assertEqual(expected.pathMTU, 1400)

    async def test_ipv6(self) -> None:
        """
        The same is true over IPv6.
        """
        expected = MTUResult(65527, 1352, 48, 65527)
        await self.check("2001:db8::2", expected)
        self.assertEqual(expected.pathMTU, 1400)

    async def test_freshPath(self) -> None:
        """
        The path MTU is found even if the kernel has yet to learn the MTUs of the
        networks on the path.
        """
        hosts = Path(self, 1500, 1400, 1300)
        found = await self.find(hosts, "d", "2001:db8:2::2")
        self.assertEqual(found, MTUResult(65527, 1252, 48, 65527))

    @needsBatches
    async def test_backwards(self) -> None:
        """
        The path back counts, too: a reply in fragments is whole, but not
        unfragmented.
        """
        await self.check(
            "192.0.2.2",
            MTUResult(65507, 1172, 28, 65507),
            "route change 192.0.2.0/24 dev vb mtu 1200",
        )
