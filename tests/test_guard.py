"""
Tests for L{shout.guard}.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from itertools import product
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import (
    binary,
    integers,
    one_of,
    sampled_from,
    tuples,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout import Shout
from shout.guard import Guard, Limit, LoopGuard, TokenBuckets, _network
from shout.sources import refuseReflectors

PEER = ("192.0.2.1", 40000)


class BucketsTests(SynchronousTestCase):
    """
    Tests for L{TokenBuckets}.
    """

    def test_burst(self) -> None:
        """
        So many tokens can be taken at once, and are counted.
        """
        buckets = TokenBuckets(1, 3, Clock().seconds)
        self.assertEqual([buckets.take("key") for _ in range(5)], [1, 2, 3, 0, 0])

    def test_rate(self) -> None:
        """
        Then they come in at the rate, up to the burst.
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

    def test_apart(self) -> None:
        """
        Each key has a bucket of its own.
        """
        buckets = TokenBuckets(1, 1, Clock().seconds)
        self.assertEqual([buckets.take(key) for key in "aabb"], [1, 0, 1, 0])

    def test_bounded(self) -> None:
        """
        Only so many keys are remembered; the one used least recently goes.
        """
        buckets = TokenBuckets(1, 1, Clock().seconds, capacity=3)
        for key in "abcadabcd":
            buckets.take(key)
            self.assertLessEqual(len(buckets), 3)
        # b was forgotten when d came, c when b came back.
        buckets = TokenBuckets(1, 1, Clock().seconds, capacity=2)
        self.assertEqual([buckets.take(key) for key in "abacab"], [1, 1, 0, 1, 0, 1])
        # A token taken is a use, too.
        buckets = TokenBuckets(1, 2, Clock().seconds, capacity=2)
        self.assertEqual([buckets.take(key) for key in "abaca"], [1, 1, 2, 1, 0])

    def test_crowded(self) -> None:
        """
        It is crowded as long as the key that would be forgotten next, to remember
        a new one, has been full for less than ten seconds.
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

    def test_longUp(self) -> None:
        """
        What the clock has reached does not matter.
        """
        clock = Clock()
        clock.advance(1e7)
        for rate in (3, 7, 1000):
            buckets = TokenBuckets(rate, 2 * rate, clock.seconds)
            taken = [buckets.take("key") for _ in range(2 * rate + 1)]
            self.assertEqual(taken, [*range(1, 2 * rate + 1), 0])

    def test_wrong(self) -> None:
        """
        There are no buckets into which nothing comes, or nothing fits.
        """
        for rate, burst in ((0, 1), (-1, 1), (1, 0)):
            error = self.assertRaises(ValueError, TokenBuckets, rate, burst)
            message = f"no bucket has {rate} per second and {burst} at once"
            self.assertEqual(str(error), message)

    def test_clock(self) -> None:
        """
        By default the clock is the system's.
        """
        buckets = TokenBuckets(0.001, 1)
        self.assertEqual([buckets.take("key") for _ in range(2)], [1, 0])


class LoopsTests(SynchronousTestCase):
    """
    Tests for L{LoopGuard}, with a clock that stands still unless it is advanced.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol = Shout(Guard(loops=LoopGuard(self.clock.seconds)))

    def answers(self, datagram: bytes) -> bool:
        """
        Tell whether a datagram is answered.
        """
        (reply,) = self.protocol.answer([datagram], [PEER])
        return reply is not None

    def test_typing(self) -> None:
        """
        A person who types capitals or digits twenty times in a row gets twenty
        answers.
        """
        for line in (b"HELLO", b"123"):
            self.setUp()
            self.assertTrue(all(self.answers(line) for _ in range(20)))

    def test_prober(self) -> None:
        """
        A prober that sends the same capitals once a second gets at least 99 of
        100 answered for ever, also one whose clock is a little fast or unsteady.
        """
        for steps in ((1.0,), (0.9999,), (0.5, 1.5), (0.1, 0.1, 2.8)):
            self.setUp()
            count = 20_000
            answered = 0
            for number in range(count):
                answered += self.answers(b"PROBE")
                self.clock.advance(steps[number % len(steps)])
            self.assertGreaterEqual(answered, 0.99 * count)

    def test_ordinary(self) -> None:
        """
        What has a lower-case letter in it is never restrained.
        """
        self.assertTrue(all(self.answers(b"HELLo") for _ in range(10_000)))
        loops = LoopGuard(self.clock.seconds)
        verdicts = {loops(b"HELLo", b"HELLO", PEER) for _ in range(1000)}
        self.assertEqual(verdicts, {None})

    def test_restrained(self) -> None:
        """
        What equals its reply is answered only so often at once, whatever it is,
        and another peer is not restrained for that.
        """
        for datagram in (b"HELLO", b"", b"\xff"):
            self.setUp()
            answered = sum(self.answers(datagram) for _ in range(10_000))
            self.assertEqual(
                answered, LoopGuard.burst - LoopGuard.burst // LoopGuard.period
            )
            (reply,) = self.protocol.answer([datagram], [("192.0.2.2", 40000)])
            self.assertEqual(reply, datagram)

    def test_tooManyPeers(self) -> None:
        """
        Loops with more peers than are remembered end as well.
        """
        peers = list(range(12_000))
        rounds = 0
        loops = LoopGuard(self.clock.seconds, Random(1).random)
        while peers and rounds < 4_000:
            peers = [peer for peer in peers if loops(b"X", b"X", peer) is None]
            self.clock.advance(1)
            rounds += 1
        self.assertEqual(peers, [])

    def test_crowded(self) -> None:
        """
        Meanwhile chance says which of the new peers get no answer, and those that
        are remembered are answered as ever.
        """
        chances = [0.5]
        loops = LoopGuard(self.clock.seconds, lambda: chances[-1])
        for peer in range(10_000):
            self.assertIsNone(loops(b"X", b"X", peer))
        chances.append(0.999 / LoopGuard.period)
        self.assertEqual(loops(b"X", b"X", "new"), "loop")
        self.assertIsNone(loops(b"X", b"X", "new"))
        self.assertIsNone(loops(b"X", b"X", 9_999))
        chances.append(1 / LoopGuard.period)
        self.assertIsNone(loops(b"X", b"X", "newer"))

    def test_longAgo(self) -> None:
        """
        However many peers have sent capitals long ago, a new one is answered.
        """
        loops = LoopGuard(self.clock.seconds, lambda: 0.0)
        for peer in range(9_000):
            self.assertIsNone(loops(b"X", b"X", peer))
        self.clock.advance(60)
        for peer in range(10_000, 19_000):
            self.assertIsNone(loops(b"X", b"X", peer))


class Echo(DatagramProtocol):
    """
    Answers everything as it is.
    """

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        assert self.transport is not None
        self.transport.write(datagram, addr)


class Wire:
    """
    Joins two servers, with a delay, and starts a loop between them by forging
    datagrams that seem to come from the second.
    """

    def __init__(
        self,
        roundTrip: float,
        first: Callable[[Clock], Any],
        second: Callable[[Clock], Any],
    ) -> None:
        self.clock = Clock()
        self.roundTrip = roundTrip
        self.servers = [first(self.clock), second(self.clock)]
        self.addresses = [("192.0.2.1", 9999), ("192.0.2.2", 9999)]
        self.sent = [0, 0]
        for number, server in enumerate(self.servers):
            server.makeConnection(_End(self, number))

    def send(self, sender: int, datagram: bytes) -> None:
        """
        Carry a datagram from one server to the other.
        """
        self.sent[sender] += 1
        receiver = self.servers[1 - sender]
        self.clock.callLater(
            self.roundTrip / 2,
            lambda: receiver.datagramReceived(datagram, self.addresses[sender]),
        )

    def run(self, forged: list[bytes]) -> None:
        """
        Forge datagrams, and wait until there is silence.
        """
        for datagram in forged:
            self.servers[0].datagramReceived(datagram, self.addresses[1])
        steps = 0
        while self.clock.calls and steps < 20_000:
            self.clock.advance(self.clock.calls[0].getTime() - self.clock.seconds())
            steps += 1


class _End:
    def __init__(self, wire: Wire, number: int) -> None:
        self._wire = wire
        self._number = number

    def write(self, datagram: bytes, addr: Any) -> None:
        self._wire.send(self._number, datagram)


def shout(clock: Clock) -> Shout:
    """
    Make a server that goes by a clock.
    """
    return Shout(Guard(loops=LoopGuard(clock.seconds)))


def echo(clock: Clock) -> Echo:
    """
    Make a server that needs no clock.
    """
    return Echo()


class LoopSimulationTests(SynchronousTestCase):
    """
    Tests for two servers that answer each other.
    """

    def test_loopsDie(self) -> None:
        """
        Whatever the round trip and however many forged datagrams started it, a
        loop between two shouts, or a shout and an echo server, ends by itself,
        and each shout sends fewer than 500 replies beyond the one that each
        forged datagram gets.
        """
        roundTrips = (0, 0.001, 0.1, 0.5, 0.99, 1, 1.01, 1.5, 1.9, 1.99, 2)
        numbers = (1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 100, 1000)
        for roundTrip, number, text, other in product(
            roundTrips, numbers, (b"forged %d", b"FORGED %d"), (shout, echo)
        ):
            wire = Wire(roundTrip, shout, other)
            wire.run([text % i for i in range(number)])
            case = f"{roundTrip} s, {number} x {text!r}, {other.__name__}: {wire.sent}"
            self.assertEqual(wire.clock.calls, [], case)
            self.assertLess(wire.sent[0], number + 500, case)
            if other is shout:
                self.assertLess(wire.sent[1], 500, case)

    def test_withoutGuard(self) -> None:
        """
        Without the rule it would go on for ever.
        """

        def unguarded(clock: Clock) -> Shout:
            return Shout(Guard(loops=lambda datagram, reply, addr: None))

        wire = Wire(0.1, unguarded, unguarded)
        wire.run([b"forged"])
        self.assertEqual(len(wire.clock.calls), 1)


class LimitTests(SynchronousTestCase):
    """
    Tests for L{Limit}.
    """

    def test_limit(self) -> None:
        """
        One source gets so many replies per second, and twice that at once; the
        ports of one address are one source.
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
        One source gets one reply at once, however low the rate.
        """
        clock = Clock()
        limit = Limit(0.1, clock.seconds)
        for _ in range(3):
            verdicts = [limit(b"a", b"A", PEER) for _ in range(2)]
            self.assertEqual(verdicts, [None, "over the limit"])
            clock.advance(10)

    def test_network(self) -> None:
        """
        A /64 of IPv6 is one source, and so is a UNIX socket.
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
        verdicts = [limit(b"a", b"A", (host, 40000)) for host in hosts]
        self.assertEqual(verdicts, [None, None, "over the limit"])

    def test_bounded(self) -> None:
        """
        Only so many sources are remembered.
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
        By default places that never ask are refused, and loops are.
        """
        guard = Guard()
        self.assertIsNone(guard.check(b"a", b"A", PEER))
        self.assertEqual(guard.check(b"a", b"A", ("192.0.2.1", 7)), "source port")
        reasons = {guard.check(b"A", b"A", PEER) for _ in range(1000)}
        self.assertEqual(reasons, {None, "loop"})

    def test_rules(self) -> None:
        """
        Rules can be left out, replaced and added; the first to object counts.
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
        Rules can come from anything that can be gone through once.
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
        What is exempt is answered whatever the rules say, and so is nobody else.
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
        What a source is decides once, and is remembered.
        """
        asked: list[Any] = []
        guard = Guard(sources=[lambda addr: asked.append(addr)])
        for _ in range(3):
            guard.check(b"a", b"A", PEER)
        self.assertEqual(asked, [PEER])

    def test_known(self) -> None:
        """
        A source that no rule objects to is known, unless there are rules to ask
        about every datagram; one that is refused never is.
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
        However many sources there are, only so many are remembered.
        """
        guard = Guard()
        for number in range(25_000):
            guard.check(b"A", b"A", (f"192.0.{number >> 8}.{number & 255}", 40000))
            self.assertLessEqual(len(guard.accepted), 10_000)

    def test_forgets(self) -> None:
        """
        Of sources that are refused, too, only so many are remembered: after
        many others, one is asked about again.
        """
        asked: list[Any] = []

        def check(addr: Any) -> str:
            asked.append(addr)
            return "no"

        guard = Guard(sources=[check])
        for _ in range(2):
            for number in range(10_001):
                guard.check(b"a", b"A", number)
        self.assertEqual(len(asked), 20_002)


class GuardMachine(RuleBasedStateMachine):
    """
    Compares a L{Shout} with its default guard to a plain model of its rules, over
    any datagrams, peers and times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.protocol = shout(self.clock)
        self.tokens: dict[Any, float] = {}
        self.refilled: dict[Any, float] = {}
        self.taken: dict[Any, int] = {}

    @rule(tenths=integers(0, 500))
    def wait(self, tenths: int) -> None:
        """
        Let time pass.
        """
        self.clock.advance(tenths / 10)

    @rule(
        datagram=one_of(sampled_from([b"HELLO", b"hello", b""]), binary(max_size=5)),
        addr=tuples(
            sampled_from(["192.0.2.1", "224.0.0.1", "2001:db8::1", "::"]),
            sampled_from([0, 7, 1023, 1024, 1900, 40000]),
        ),
        count=integers(1, 150),
    )
    def ask(self, datagram: bytes, addr: Any, count: int) -> None:
        """
        Ask the same several times.
        """
        replies = self.protocol.answer([datagram] * count, [addr] * count)
        for reply in replies:
            assert reply == (datagram.upper() if self.expects(datagram, addr) else None)

    def expects(self, datagram: bytes, addr: Any) -> bool:
        """
        Say whether a datagram is to be answered.
        """
        host, port = addr
        ip = ip_address(host)
        if port < 1024 or port == 1900 or ip.is_multicast or ip.is_unspecified:
            return False
        if datagram.upper() != datagram:
            return True
        now = self.clock.seconds()
        tokens = self.tokens.get(addr, 100) + now - self.refilled.get(addr, now)
        self.refilled[addr] = now
        self.tokens[addr] = min(100, tokens)
        if self.tokens[addr] < 1 - 1e-2:
            return False
        self.tokens[addr] -= 1
        self.taken[addr] = self.taken.get(addr, 0) + 1
        return self.taken[addr] % 128 != 0


class GuardModelTests(SynchronousTestCase):
    """
    Tests for the guard against a model.
    """

    def test_model(self) -> None:
        """
        Whatever is asked by whom and when, the guard does what its model does.
        """
        run_state_machine_as_test(
            GuardMachine, settings=settings(deadline=None, max_examples=60)
        )
