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
from twisted.internet.defer import Deferred, gatherResults

from shout.measure.mtu import MTUResult, comesBack, findMTU, search
from shout.measure.probe import SMALLEST
from shout.measure.result import LOST, REFUSED, REPLY, WRONG, Event
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner
from shout.measure.target import Target
from shout.sockets.bind import bindUDP
from shout.sockets.unix import bindUNIX
from shout.udp.icmp import TOO_BIG
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK, needsIPv6
from tests.hosts import Hosts, Namespaces, ParallelPaths, Path, whyNot
from tests.peers import PeerCase


class SearchTests(PeerCase):
    """
    Tests for L{search}.
    """

    def search(
        self, least: int, most: int, largest: int, pause: int = 0
    ) -> tuple[int | None, int]:
        """
        Return what is found where C{largest} is, and after how many attempts.

        @param pause: the number of the attempt that fails in any case; 0 for none.
        """
        onStep = []

        async def attempt(size: int) -> bool:
            self.assertTrue(least <= size <= most)
            onStep.append(size)
            return size <= largest and len(onStep) != pause

        searching = Deferred.fromCoroutine(search(attempt, least, most))
        return self.successResultOf(searching), len(onStep)

    @given(st.integers(32, 65507))
    def test_found(self, largest: int) -> None:
        """
        The largest size that works is found, with few attempts.
        """
        found, runner = self.search(32, 65507, largest)
        self.assertEqual(found, largest)
        self.assertLessEqual(runner, 19)

    @given(st.integers(32, 65507), st.integers(1, 18))
    def test_pause(self, largest: int, pause: int) -> None:
        """
        It is found, too, where one attempt fails that would otherwise succeed.
        """
        found, runner = self.search(32, 65507, largest, pause)
        self.assertEqual(found, largest)
        self.assertLessEqual(runner, 36)

    def test_none(self) -> None:
        """
        When the smallest does not work, it is tried once more, and no other is.
        """
        self.assertEqual(self.search(32, 65507, 31), (None, 2))

    def test_most(self) -> None:
        """
        When the largest works, two attempts are enough.
        """
        self.assertEqual(self.search(32, 65507, 65507), (65507, 2))


class FindSizesTests(PeerCase):
    """
    Tests for L{findMTU}.
    """

    def find(
        self, address: str, port: int | None, timeout: float = 1.0
    ) -> Deferred[MTUResult]:
        self.onStep: list[Any] = []
        target = Target(address, address, port)

        def onStep(*what: Any) -> None:
            self.onStep.append(what)

        self.sock = target.open()
        self.addCleanup(self.sock.close)
        return Deferred.fromCoroutine(
            findMTU(SearchRunner(target, self.reactor), self.sock, timeout, onStep)
        )

    async def test_unix(self) -> None:
        """
        Through a UNIX socket comes what its buffers hold, and there is no path
        MTU.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        found = await self.find(path, None)
        assert found.whole is not None
        self.assertLess(65507, found.whole)
        self.assertIsNone(found.unfragmented)
        self.assertIsNone(found.pathMTU)

    async def test_small(self) -> None:
        """
        The largest datagram that a server answers whole is found, where it cuts
        what is longer.
        """
        _, port = self.misbehave(lambda datagram: [datagram.upper()[:1000]])
        found = await self.find("127.0.0.1", port, 0.05)
        self.assertEqual(found.whole, 1000)

    async def test_oneFlow(self) -> None:
        """
        Every datagram is sent from the socket that was handed in, which stays open.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()[:1000]])
        await self.find("127.0.0.1", port, 0.05)
        self.assertEqual(set(peer.senders), {self.sock.getsockname()})

    @skipUnless(sys.platform == "linux", "only Linux draws flow labels")
    @needsIPv6
    async def test_flowLabel(self) -> None:
        """
        Datagrams are sent without an IPv6 flow label.
        """
        await self.find("::1", self.serveUDP("::1"))
        label = self.sock.getsockopt(socket.IPPROTO_IPV6, 70)
        self.assertEqual(label, 0)

    async def test_late(self) -> None:
        """
        A reply to a size that was tried earlier does not count for another.
        """
        right = [b""]

        def answer(datagram: bytes) -> list[bytes]:
            if len(datagram) <= 1000:
                right.append(datagram.upper())
            return right[-2:]

        _, port = self.misbehave(answer)
        found = await self.find("127.0.0.1", port, 0.05)
        self.assertEqual(found.whole, 1000)

    async def test_nothing(self) -> None:
        """
        Where nothing comes back there is no size.
        """
        _, port = self.misbehave(lambda datagram: [])
        found = await self.find("127.0.0.1", port, 0.05)
        self.assertEqual(found.whole, None)
        self.assertEqual(self.onStep, [(SMALLEST, True, False)] * 2)


class Scripted:
    """
    Attempts in which happens what a test wants.
    """

    target = Target(LOOPBACK[-1], LOOPBACK[-1], 9)

    def __init__(self, *scripts: list[Event]) -> None:
        self.left = list(scripts)

    async def measure(self, schedule: Schedule, sock: Any, isEnough: Any) -> None:
        self.ended = [isEnough(event) for event in self.left.pop(0)]


class ComesBackTests(PeerCase):
    """
    Tests for L{comesBack}.
    """

    def check(self, scripted: Any, isAllowed: bool, isWhole: bool) -> None:
        sock: Any = None
        trying = Deferred.fromCoroutine(comesBack(scripted, sock, 9000, 1.0, isAllowed))
        self.assertEqual(self.successResultOf(trying), isWhole)
        self.assertEqual(scripted.left, [])

    def test_learned(self) -> None:
        """
        However many datagrams are too long for a network on the way before this
        system knows of it, the size is tried once it does; with don't-fragment
        set it does not come back.
        """
        tooBig = [Event(REFUSED, number, detail=TOO_BIG) for number in (1, 2, 3)]
        for scripts, isAllowed, isWhole in (
            ([tooBig, tooBig, [Event(REPLY, 1, 9000)]], True, True),
            ([tooBig, [Event(LOST, 1)]], True, False),
            ([tooBig] * 8, True, False),
            ([tooBig], False, False),
        ):
            self.check(Scripted(*scripts), isAllowed, isWhole)

    def test_enough(self) -> None:
        """
        An answer, a refusal and the third loss end it, and nothing else does, not
        even a refusal that may be of a size tried earlier.
        """
        for event, isEnough in (
            (Event(REPLY, 1, 9000), True),
            (Event(REFUSED, 1, detail="port unreachable"), True),
            (Event(REFUSED, None, detail="port unreachable"), False),
            (Event(LOST, 3), True),
            (Event(LOST, 2), False),
            (Event(WRONG, 3), False),
        ):
            scripted = Scripted([event])
            self.check(scripted, True, event.kind == REPLY)
            self.assertEqual(scripted.ended, [isEnough])

    async def test_thirdTry(self) -> None:
        """
        What is lost twice, and then comes back, comes back.
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


class PathMTUTests(PeerCase):
    """
    Tests for L{findMTU} between two hosts.
    """

    if whyNot:
        skip = whyNot

    async def check(
        self, address: str, expected: MTUResult, backwards: str = ""
    ) -> None:
        hosts = Hosts(self, mtu=1400)
        if backwards:
            hosts.ip("b", backwards)
        self.assertEqual(await self.find(hosts, "b", address), expected)

    async def find(self, hosts: Namespaces, last: str, address: str) -> MTUResult:
        """
        Find what a server on a host answers to the host C{a}.
        """
        return await self.search(hosts, self.serveOn(hosts, last, address))

    def serveOn(self, hosts: Namespaces, host: str, address: str) -> Target:
        with hosts.on(host):
            sockets = bindUDP(22950, [address])
        self.serve(*sockets)
        return Target(address, address, 22950)

    def search(self, hosts: Namespaces, target: Target) -> Deferred[MTUResult]:
        with hosts.on("a"):
            sock = target.open()
        self.addCleanup(sock.close)
        runner = SearchRunner(target, self.reactor)
        return Deferred.fromCoroutine(findMTU(runner, sock, 0.5, lambda *what: None))

    async def test_ipv4(self) -> None:
        """
        Over a network with an MTU of 1,400 that is the path MTU for IPv4, and
        larger datagrams come in fragments.
        """
        expected = MTUResult(65507, 1372, 28, 65507)
        await self.check("192.0.2.2", expected)
        self.assertEqual(expected.pathMTU, 1400)

    async def test_ipv6(self) -> None:
        """
        The same holds for IPv6.
        """
        expected = MTUResult(65527, 1352, 48, 65527)
        await self.check("2001:db8::2", expected)
        self.assertEqual(expected.pathMTU, 1400)

    async def test_freshPath(self) -> None:
        """
        It holds too where this system has yet to learn how narrow the networks
        on the way are.
        """
        hosts = Path(self, 1500, 1400, 1300)
        found = await self.find(hosts, "d", "2001:db8:2::2")
        self.assertEqual(found, MTUResult(65527, 1252, 48, 65527))

    @needsBatches
    async def test_backwards(self) -> None:
        """
        The way back counts too: what comes back in fragments is whole, but not
        unfragmented.
        """
        await self.check(
            "192.0.2.2",
            MTUResult(65507, 1172, 28, 65507),
            "route change 192.0.2.0/24 dev vb mtu 1200",
        )

    async def test_parallelPaths(self) -> None:
        """
        Where there are parallel paths, a search finds the MTU of one of them, and
        nothing between.
        """
        hosts = ParallelPaths(self, 1400, 1500, 1500, 1500)
        for address in ("198.51.100.2", "2001:db8:1::2"):
            target = self.serveOn(hosts, "d", address)
            seen: set[int | None] = set()
            # A search takes a path with 1,400 bytes, there or back, in 7 cases of
            # 16.
            for _ in range(6):
                searches = [self.search(hosts, target) for _ in range(10)]
                seen |= {found.pathMTU for found in await gatherResults(searches)}
                if len(seen) > 1:
                    break
            self.assertEqual(seen, {1400, 1500})
