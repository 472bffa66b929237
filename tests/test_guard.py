"""
Tests for L{shout.guard}.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import product
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout.guard import Guard, Limit, LoopGuard, TokenBuckets, _network
from shout.protocol import Shout
from shout.sources import refuseReflectors

PEER = ("192.0.2.1", 40000)


class TokenBucketsTests(SynchronousTestCase):
    """
    Tests for L{TokenBuckets}.
    """

    def test_burst(self) -> None:
        """
        As many tokens as the burst can be taken at once, and are counted.
        """
        buckets = TokenBuckets(1, 3, Clock().seconds)
        self.assertEqual([buckets.take("key") for _ in range(5)], [1, 2, 3, 0, 0])

    def test_rate(self) -> None:
        """
        Tokens are added at the rate, up to the burst.
        """
        clock = Clock()
        buckets = TokenBuckets(10, 2, clock.seconds)
        taken = 0
        for _ in range(1000):
            taken += buckets.take("key") > 0
            clock.advance(0.01)
        self.assertEqual(taken, 2 + 99)
        clock.advance(1000)
        self.assertEqual([buckets.take("key") > 0 for _ in range(3)], [1, 1, 0])

    def test_keys(self) -> None:
        """
        Each key has a bucket of its own.
        """
        buckets = TokenBuckets(1, 1, Clock().seconds)
        self.assertEqual([buckets.take(key) for key in "aabb"], [1, 0, 1, 0])

    def test_bounded(self) -> None:
        """
        The number of keys is limited; the least recently used key is forgotten.
        """
        buckets = TokenBuckets(1, 1, Clock().seconds, capacity=3)
        for key in "abcadabcd":
            buckets.take(key)
            self.assertLessEqual(len(buckets), 3)
        # b was forgotten when d came, c when b came back.
        buckets = TokenBuckets(1, 1, Clock().seconds, capacity=2)
        self.assertEqual([buckets.take(key) for key in "abacab"], [1, 1, 0, 1, 0, 1])
        # Taking a token counts as use too.
        buckets = TokenBuckets(1, 2, Clock().seconds, capacity=2)
        self.assertEqual([buckets.take(key) for key in "abaca"], [1, 1, 2, 1, 0])

    def test_isThrashing(self) -> None:
        """
        The buckets are thrashing while the key that a new one would replace has been
        full for less than ten seconds.
        """
        clock = Clock()
        buckets = TokenBuckets(1, 1, clock.seconds, capacity=2)
        buckets.take("a")
        self.assertFalse(buckets.isThrashing)
        clock.advance(1)
        buckets.take("b")
        clock.advance(9.875)
        self.assertTrue(buckets.isThrashing)
        clock.advance(0.125)
        self.assertFalse(buckets.isThrashing)

    def test_longUptime(self) -> None:
        """
        The rate and the burst are exact after a long uptime.
        """
        clock = Clock()
        clock.advance(1e7)
        for rate in (3, 7, 1000):
            buckets = TokenBuckets(rate, 2 * rate, clock.seconds)
            taken = [buckets.take("key") for _ in range(2 * rate + 1)]
            self.assertEqual(taken, [*range(1, 2 * rate + 1), 0])

    def test_invalid(self) -> None:
        """
        A rate that is not above 0 and a burst below 1 are refused.
        """
        for rate, burst in ((0, 1), (-1, 1), (1, 0)):
            error = self.assertRaises(ValueError, TokenBuckets, rate, burst)
            self.assertIn(f"not {rate} and {burst}", str(error))

    def test_clock(self) -> None:
        """
        The default clock is that of the system.
        """
        buckets = TokenBuckets(0.001, 1)
        self.assertEqual([buckets.take("key") for _ in range(2)], [1, 0])


class LoopGuardTests(SynchronousTestCase):
    """
    Tests for L{LoopGuard}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol = Shout(Guard(loops=LoopGuard(self.clock.seconds)))

    def answers(self, datagram: bytes) -> bool:
        """
        Return C{True} if a datagram is answered.
        """
        (reply,) = self.protocol.answer([datagram], [PEER])
        return reply is not None

    def test_typing(self) -> None:
        """
        Twenty lines of capitals or digits in a row get twenty replies.
        """
        for line in (b"HELLO", b"123"):
            self.setUp()
            self.assertTrue(all(self.answers(line) for _ in range(20)))

    def test_prober(self) -> None:
        """
        A prober that sends the same capitals once a second gets replies to at least 99
        of 100, also if its clock is a little fast or unsteady.
        """
        for steps in ((1.0,), (0.9999,), (0.5, 1.5), (0.1, 0.1, 2.8)):
            self.setUp()
            count = 4_000
            answered = 0
            for number in range(count):
                answered += self.answers(b"PROBE")
                self.clock.advance(steps[number % len(steps)])
            self.assertGreaterEqual(answered, 0.99 * count)

    def test_ordinary(self) -> None:
        """
        Datagrams with a lower-case letter are not limited.
        """
        self.assertTrue(all(self.answers(b"HELLo") for _ in range(1000)))
        loops = LoopGuard(self.clock.seconds)
        reasons = {loops(b"HELLo", b"HELLO", PEER) for _ in range(1000)}
        self.assertEqual(reasons, {None})

    def test_fixedPoints(self) -> None:
        """
        Datagrams that equal their reply are limited per peer.
        """
        for datagram in (b"HELLO", b"", b"\xff"):
            self.setUp()
            answered = sum(self.answers(datagram) for _ in range(1000))
            self.assertEqual(
                answered, LoopGuard.burst - LoopGuard.burst // LoopGuard.period
            )
            (reply,) = self.protocol.answer([datagram], [("192.0.2.2", 40000)])
            self.assertEqual(reply, datagram)

    def test_tooManyPeers(self) -> None:
        """
        Loops with more peers than the buckets hold end as well.
        """
        peers = list(range(120))
        rounds = 0
        loops = LoopGuard(self.clock.seconds, Random(1).random)
        # A hundredth of the real capacity; otherwise this would take a second.
        loops._buckets = TokenBuckets(
            LoopGuard.rate, LoopGuard.burst, self.clock.seconds, capacity=100
        )
        while peers and rounds < 4_000:
            peers = [peer for peer in peers if loops(b"X", b"X", peer) is None]
            self.clock.advance(1)
            rounds += 1
        self.assertEqual(peers, [])

    def test_thrashing(self) -> None:
        """
        While the buckets are thrashing, new peers are refused at random, and the others
        are answered.
        """
        randoms = [0.5]
        loops = LoopGuard(self.clock.seconds, lambda: randoms[-1])
        for peer in range(10_000):
            self.assertIsNone(loops(b"X", b"X", peer))
        randoms.append(0.999 / LoopGuard.period)
        self.assertEqual(loops(b"X", b"X", "new"), "loop")
        self.assertIsNone(loops(b"X", b"X", "new"))
        self.assertIsNone(loops(b"X", b"X", 9_999))
        randoms.append(1 / LoopGuard.period)
        self.assertIsNone(loops(b"X", b"X", "newer"))

    def test_longAgo(self) -> None:
        """
        New peers are answered if all others sent their capitals a minute ago.
        """
        loops = LoopGuard(self.clock.seconds, lambda: 0.0)
        for peer in range(9_000):
            self.assertIsNone(loops(b"X", b"X", peer))
        self.clock.advance(60)
        for peer in range(10_000, 19_000):
            self.assertIsNone(loops(b"X", b"X", peer))


Answer = Callable[[Sequence[bytes], Sequence[Any]], Sequence[object]]
"""
The reply of a server to each datagram of a batch, as in L{Shout.answer}.
"""


def shout(link: Link) -> Answer:
    return Shout(Guard(loops=LoopGuard(link.seconds))).answer


def unguarded(link: Link) -> Answer:
    return Shout(Guard(loops=lambda datagram, reply, addr: None)).answer


def echo(link: Link) -> Answer:
    return lambda datagrams, addrs: datagrams


class Link:
    """
    A link with a delay between two servers, on which a loop between them is started
    with forged datagrams that seem to come from the second server.

    @ivar inFlight: The datagrams on their way: the time of arrival, the number of the
        receiver, and the payload.

    @ivar sent: Number of replies from each server.
    """

    addresses = (("192.0.2.1", 9999), ("192.0.2.2", 9999))

    def __init__(
        self,
        roundTrip: float,
        first: Callable[[Link], Answer],
        second: Callable[[Link], Answer],
    ) -> None:
        self.inFlight: deque[tuple[float, int, bytes]] = deque()
        self.sent = [0, 0]
        self._now = 0.0
        self._delay = roundTrip / 2
        self._servers = (first(self), second(self))

    def seconds(self) -> float:
        return self._now

    def run(self, forged: Sequence[bytes]) -> None:
        """
        Forge datagrams, and deliver what is sent until nothing is in flight, or 20,000
        datagrams have been delivered.
        """
        self.inFlight.extend((0, 0, datagram) for datagram in forged)
        for _ in range(20_000):
            if not self.inFlight:
                break
            self._now, receiver, datagram = self.inFlight.popleft()
            sender = self.addresses[1 - receiver]
            [reply] = self._servers[receiver]([datagram], [sender])
            if isinstance(reply, bytes):
                self.sent[receiver] += 1
                self.inFlight.append((self._now + self._delay, 1 - receiver, reply))


class LoopTests(SynchronousTestCase):
    """
    Tests for two servers that answer each other.
    """

    def test_loopsDie(self) -> None:
        """
        A loop between two shouts, or a shout and an echo server, ends by itself,
        whatever the round trip and the number of forged datagrams.  Each shout sends
        fewer than 500 replies in addition to one for each forged datagram.

        With C{SHOUT_LOOPS} in the environment more cases are tried.
        """
        roundTrips: Sequence[float] = (0, 0.1, 1, 1.99)
        numbers: Sequence[int] = (1, 3, 20, 1000)
        if "SHOUT_LOOPS" in os.environ:
            roundTrips = (0, 0.001, 0.1, 0.5, 0.99, 1, 1.01, 1.5, 1.9, 1.99, 2)
            numbers = (1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 100, 1000)
        for roundTrip, number, text, other in product(
            roundTrips, numbers, (b"forged %d", b"FORGED %d"), (shout, echo)
        ):
            link = Link(roundTrip, shout, other)
            link.run([text % i for i in range(number)])
            case = f"{roundTrip} s, {number} x {text!r}, {other.__name__}: {link.sent}"
            self.assertEqual(list(link.inFlight), [], case)
            self.assertLess(link.sent[0], number + 500, case)
            if other is shout:
                self.assertLess(link.sent[1], 500, case)

    def test_withoutGuard(self) -> None:
        """
        Without the rule the loop continues for ever.
        """
        link = Link(0.1, unguarded, unguarded)
        link.run([b"forged"])
        self.assertEqual(len(link.inFlight), 1)


class LimitTests(SynchronousTestCase):
    """
    Tests for L{Limit}.
    """

    def test_limit(self) -> None:
        """
        A source gets replies at the rate, and twice as many at once.  All ports of an
        address are one source.
        """
        clock = Clock()
        limit = Limit(10, clock.seconds)

        def answered(count: int) -> int:
            return sum(
                limit(b"a", b"A", ("192.0.2.1", 40000 + i)) is None
                for i in range(count)
            )

        self.assertEqual(answered(1000), 20)
        for _ in range(10):
            clock.advance(1)
            self.assertEqual(answered(1000), 10)

    def test_lowLimit(self) -> None:
        """
        At a low rate a source gets one reply at once.
        """
        clock = Clock()
        limit = Limit(0.1, clock.seconds)
        for _ in range(3):
            reasons = [limit(b"a", b"A", PEER) for _ in range(2)]
            self.assertEqual(reasons, [None, "over the limit"])
            clock.advance(10)

    def test_network(self) -> None:
        """
        The /64 of an IPv6 address, a link-local address and a UNIX socket are one
        source each.
        """
        for same, other in (
            (("2001:db8::1", 40000), ("2001:db8:0:1::1", 40000)),
            (("fe80::1%va", 40000), ("fe80::2%va", 40000)),
            ("/run/a", "/run/b"),
        ):
            limit = Limit(1, Clock().seconds)
            self.assertIsNone(limit(b"a", b"A", same))
            self.assertIsNone(limit(b"a", b"A", same))
            self.assertEqual(limit(b"a", b"A", same), "over the limit")
            self.assertIsNone(limit(b"a", b"A", other))
        limit = Limit(1, Clock().seconds)
        hosts = ("2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1")
        reasons = [limit(b"a", b"A", (host, 40000)) for host in hosts]
        self.assertEqual(reasons, [None, None, "over the limit"])

    def test_bounded(self) -> None:
        """
        The number of sources in memory is limited.
        """
        limit = Limit(1, Clock().seconds)
        for number in range(11_000):
            limit(b"a", b"A", (f"2001:db8:0:{number:x}::1", 40000))
        self.assertEqual(len(limit._buckets), 10_000)
        self.assertEqual(_network.cache_info().currsize, 10_000)


class GuardTests(SynchronousTestCase):
    """
    Tests for L{Guard}.
    """

    def test_default(self) -> None:
        """
        By default reflectors and loops are refused.
        """
        guard = Guard()
        self.assertIsNone(guard.check(b"a", b"A", PEER))
        self.assertEqual(guard.check(b"a", b"A", ("192.0.2.1", 7)), "source port")
        reasons = {guard.check(b"A", b"A", PEER) for _ in range(1000)}
        self.assertEqual(reasons, {None, "loop"})

    def test_rules(self) -> None:
        """
        Rules can be omitted, replaced and added; the first that refuses gives the
        reason.
        """
        guard = Guard(
            sources=[
                lambda addr: None,
                lambda addr: "source" if addr == "bad" else None,
            ],
            loops=lambda datagram, reply, addr: "fixed point",
            rules=[lambda datagram, reply, addr: "long" if len(datagram) > 3 else None],
        )
        self.assertIsNone(guard.check(b"a", b"A", "good"))
        self.assertEqual(guard.check(b"aaaa", b"AAAA", "bad"), "source")
        self.assertEqual(guard.check(b"AAAA", b"AAAA", "good"), "fixed point")
        self.assertEqual(guard.check(b"aaaa", b"AAAA", "good"), "long")
        self.assertIsNone(Guard(sources=()).check(b"a", b"A", ("192.0.2.1", 0)))

    def test_anyIterable(self) -> None:
        """
        Rules can be given as iterators.
        """
        guard = Guard(
            sources=iter([refuseReflectors]),
            rules=iter([lambda datagram, reply, addr: "no" if datagram else None]),
        )
        for port in (7, 9, 13):
            addr = ("192.0.2.1", port)
            self.assertEqual(guard.check(b"", b"", addr), "source port")
        for _ in range(3):
            self.assertEqual(guard.check(b"a", b"A", PEER), "no")

    def test_exempt(self) -> None:
        """
        Exempt sources, and no others, are answered regardless of the rules.
        """
        guard = Guard(
            sources=[lambda addr: "source"],
            rules=[lambda datagram, reply, addr: "rule"],
        )
        self.assertEqual(guard.check(b"A", b"A", PEER), "source")
        guard.exempt.add(PEER)
        for _ in range(1000):
            self.assertIsNone(guard.check(b"A", b"A", PEER))
        other = (PEER[0], PEER[1] + 1)
        self.assertEqual(guard.check(b"A", b"A", other), "source")

    def test_sourcesOnce(self) -> None:
        """
        Rules for sources are checked once per source.
        """
        checked: list[Any] = []
        guard = Guard(sources=[lambda addr: checked.append(addr)])
        for _ in range(3):
            guard.check(b"a", b"A", PEER)
        self.assertEqual(checked, [PEER])

    def test_accepted(self) -> None:
        """
        A source that is not refused is accepted, unless there are rules for every
        datagram.
        """
        guard = Guard()
        guard.check(b"a", b"A", PEER)
        guard.check(b"a", b"A", ("192.0.2.1", 7))
        self.assertEqual(guard.accepted, {PEER})
        limited = Guard(rules=[Limit(1)])
        limited.check(b"a", b"A", PEER)
        self.assertEqual(limited.accepted, set())

    def test_bounded(self) -> None:
        """
        The number of accepted sources in memory is limited.
        """
        guard = Guard()
        for number in range(20_001):
            guard.check(b"A", b"A", (f"192.0.{number >> 8}.{number & 255}", 40000))
            self.assertLessEqual(len(guard.accepted), 10_000)

    def test_forgets(self) -> None:
        """
        The number of refused sources in memory is limited: after many others, the rules
        are checked again for the first.
        """
        checked: list[Any] = []

        def check(addr: Any) -> str:
            checked.append(addr)
            return "no"

        guard = Guard(sources=[check])
        for _ in range(2):
            for number in range(10_001):
                guard.check(b"a", b"A", number)
        self.assertEqual(len(checked), 20_002)
