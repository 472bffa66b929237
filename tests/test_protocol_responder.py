"""
Tests for L{shout.protocol.Responder}.
"""

from __future__ import annotations

from errno import ENOBUFS
from typing import Any

from hypothesis import given
from hypothesis.strategies import integers, lists
from twisted.internet.error import MessageLengthError
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, FakeDatagramTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from shout import Guard, Responder
from shout.guard import LoopGuard
from shout.udp.responder import MAX_HOLD
from tests.properties import untimed
from tests.transports import FailingTransport, deliver

PEER = ("192.0.2.1", 4000)
REFLECTOR = ("192.0.2.1", 7)


def replies(protocol: Responder, *datagrams: bytes, addr: Any = PEER) -> list[Any]:
    """
    Deliver datagrams to a protocol, and return what it writes.
    """
    return deliver(protocol, *datagrams, addr=addr)


class ScriptedResponder(Responder):
    """
    A responder that answers each datagram with the next of its results.

    @ivar results: The replies, or exceptions to be raised.

    @ivar calls: The arguments of each call of C{respond}.

    @ivar clock: The clock of the responder, which each call advances by C{duration}
        seconds.
    """

    duration = 0.0

    def __init__(self, *results: Any, guard: Guard | None = None) -> None:
        self.clock = Clock()
        super().__init__(guard, self.clock.seconds)
        self.results = list(results)
        self.calls: list[tuple[bytes, Any]] = []

    def respond(self, datagram: bytes, addr: Any) -> Any:
        self.calls.append((datagram, addr))
        self.clock.advance(self.duration)
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    def answerMany(self, *datagrams: bytes) -> list[Any]:
        """
        Return the replies to a batch from one peer.
        """
        return list(self.answer(datagrams, [PEER] * len(datagrams)))


class ResponderTests(TestCase):
    """
    Tests for L{Responder}.
    """

    def assertCounts(self, protocol: Responder, answered: int, **dropped: int) -> None:
        """
        Assert that all datagrams are counted: the number of those that are answered,
        and those that are dropped, by reason (with C{_} for a space).
        """
        counters = protocol.counters
        reasons = {name.replace("_", " "): count for name, count in dropped.items()}
        self.assertEqual((counters.answered, counters.dropped), (answered, reasons))
        self.assertEqual(counters.received, answered + sum(dropped.values()))

    def test_replies(self) -> None:
        """
        The reply is the result of C{respond}, and is sent to the peer.
        """
        protocol = ScriptedResponder(b"one", b"")
        self.assertEqual(replies(protocol, b"a", b"b"), [(b"one", PEER), (b"", PEER)])
        self.assertEqual(protocol.calls, [(b"a", PEER), (b"b", PEER)])
        self.assertCounts(protocol, 2)

    def test_batch(self) -> None:
        """
        All datagrams of a batch are answered in one call.
        """
        protocol = ScriptedResponder(b"1", b"2", b"3")
        peers = [("192.0.2.1", 4000), ("192.0.2.2", 4000), ("192.0.2.3", 4000)]
        answers = protocol.answer([b"a", b"b", b"c"], peers)
        self.assertEqual(answers, [b"1", b"2", b"3"])
        self.assertEqual(protocol.calls, list(zip([b"a", b"b", b"c"], peers)))
        self.assertCounts(protocol, 3)

    def test_noReply(self) -> None:
        """
        C{None} sends no reply.  That is counted and not logged.
        """
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        protocol = ScriptedResponder(None, b"x")
        self.assertEqual(replies(protocol, b"a", b"b"), [(b"x", PEER)])
        self.assertCounts(protocol, 1, no_reply=1)
        self.assertEqual(list(events), [])

    def test_abstract(self) -> None:
        """
        A subclass has to override C{respond}.
        """
        self.assertRaises(NotImplementedError, replies, Responder(), b"a")

    def test_raises(self) -> None:
        """
        An exception is the reply to the datagram that caused it.  The others of the
        batch are answered, and C{respond} is called once for each.
        """
        for error in (ZeroDivisionError(), StopIteration(), SystemExit()):
            protocol = ScriptedResponder(b"1", error, b"3")
            self.assertEqual(protocol.answerMany(b"a", b"b", b"c"), [b"1", error, b"3"])
            self.assertEqual([each for each, _ in protocol.calls], [b"a", b"b", b"c"])
            self.assertCounts(protocol, 2, error=1)

    def test_raisesAlone(self) -> None:
        """
        On any transport C{datagramReceived} raises the exception, and the datagram is
        counted.
        """
        protocol = ScriptedResponder(ZeroDivisionError(), b"x")
        self.assertRaises(ZeroDivisionError, replies, protocol, b"a")
        self.assertEqual(replies(protocol, b"b"), [(b"x", PEER)])
        self.assertCounts(protocol, 1, error=1)

    def test_wrongType(self) -> None:
        """
        A reply that is neither bytes nor C{None} is an error, which names the method,
        the class, and the types.
        """
        wrong = ["text", bytearray(b"a"), memoryview(b"a"), 5, ValueError]
        for reply in wrong:
            protocol = ScriptedResponder(b"1", reply, b"3")
            first, error, last = protocol.answerMany(b"a", b"b", b"c")
            self.assertEqual((first, last), (b"1", b"3"))
            self.assertIsInstance(error, TypeError)
            name = type(reply).__name__
            self.assertEqual(
                str(error),
                f"ScriptedResponder.respond() returned {name}, not bytes or None",
            )
            self.assertCounts(protocol, 2, error=1)
            self.assertRaises(TypeError, replies, ScriptedResponder(reply), b"a")

    def test_subclassOfBytes(self) -> None:
        """
        An instance of a subclass of C{bytes} is a reply.
        """

        class Text(bytes):
            pass

        self.assertEqual(replies(ScriptedResponder(Text(b"x")), b"a"), [(b"x", PEER)])

    def test_slow(self) -> None:
        """
        After 1 ms the replies so far are returned.  The datagrams that are left are
        answered by the next call.
        """
        protocol = ScriptedResponder(*[b"x"] * 9)
        for duration, count in (
            (5 * MAX_HOLD, 1),
            (MAX_HOLD, 1),
            (0.6 * MAX_HOLD, 2),
            (0.4 * MAX_HOLD, 3),
        ):
            protocol.duration = duration
            protocol.calls.clear()
            self.assertEqual(protocol.answerMany(*[b"a"] * 5), [b"x"] * count)
            self.assertEqual(len(protocol.calls), count)
        self.assertCounts(protocol, 7)
        self.assertEqual(MAX_HOLD, 0.001)

    def test_slowErrors(self) -> None:
        """
        The time of datagrams that get no reply counts as well.
        """
        protocol = ScriptedResponder(None, error := ZeroDivisionError(), b"x")
        protocol.duration = 0.6 * MAX_HOLD
        self.assertEqual(protocol.answerMany(b"a", b"b", b"c"), [None, error])
        self.assertCounts(protocol, 0, error=1, no_reply=1)

    @untimed
    @given(lists(integers(0, 1500), min_size=1))
    def test_wholeBatch(self, durations: list[int]) -> None:
        """
        A batch is answered in order by some calls.  Each ends with the datagram after
        which 1 ms has passed.
        """
        protocol = ScriptedResponder()
        clock = protocol.clock

        def respond(datagram: bytes, addr: Any) -> bytes:
            # These floats have no rounding errors.
            clock.advance(durations[int(datagram)] / (1 << 20))
            return b"re: " + datagram

        protocol.respond = respond  # type: ignore[method-assign]
        datagrams = [b"%d" % number for number in range(len(durations))]
        answers: list[Any] = []
        while len(answers) < len(datagrams):
            start, before = len(answers), clock.seconds()
            answers += protocol.answerMany(*datagrams[start:])
            self.assertGreater(len(answers), start)
            last = durations[len(answers) - 1] / (1 << 20)
            self.assertLess(clock.seconds() - last - before, MAX_HOLD)
        self.assertEqual(answers, [b"re: " + datagram for datagram in datagrams])

    def test_guardRefuses(self) -> None:
        """
        The guard checks each reply.
        """
        protocol = ScriptedResponder(b"1", b"2", b"3", b"4")
        answers = protocol.answer([b"a"] * 4, [PEER, REFLECTOR, PEER, REFLECTOR])
        self.assertEqual(answers, [b"1", None, b"3", None])
        self.assertCounts(protocol, 2, source_port=2)

    def test_loop(self) -> None:
        """
        Replies that equal their datagrams are limited.
        """
        burst = LoopGuard.burst
        protocol = ScriptedResponder(*[b"a"] * (burst + 2))
        self.assertEqual(
            protocol.answerMany(*[b"a"] * (burst + 2)), [b"a"] * burst + [None] * 2
        )
        self.assertCounts(protocol, burst, loop=2)

    def test_guardChecks(self) -> None:
        """
        A rule is called with the datagram, the reply and the peer, unless there is no
        reply.
        """
        calls: list[Any] = []
        protocol = ScriptedResponder(
            b"1", None, "text", guard=Guard(rules=[lambda *a: calls.append(a)])
        )
        protocol.answerMany(b"a", b"b", b"c")
        self.assertEqual(calls, [(b"a", b"1", PEER)])

    def test_guardRaises(self) -> None:
        """
        If a rule raises, its datagram alone gets no reply, and C{respond} is not called
        again.
        """
        error = ZeroDivisionError()

        def rule(datagram: bytes, reply: bytes, addr: Any) -> None:
            if datagram == b"b":
                raise error

        protocol = ScriptedResponder(b"1", b"2", b"3", guard=Guard(rules=[rule]))
        self.assertEqual(protocol.answerMany(b"a", b"b", b"c"), [b"1", error, b"3"])
        self.assertEqual(len(protocol.calls), 3)
        self.assertCounts(protocol, 2, error=1)

    def test_acceptedPeer(self) -> None:
        """
        Ordinary datagrams of accepted peers are not checked, also in a batch with
        others.
        """
        guard = Guard([lambda addr: "refused"])
        guard.accepted.add(PEER)
        protocol = ScriptedResponder(*[b"x"] * 3, guard=guard)
        other = ("192.0.2.2", 4000)
        self.assertEqual(protocol.answer([b"a"], [PEER]), [b"x"])
        self.assertEqual(protocol.answer([b"a"] * 2, [PEER, other]), [b"x", None])

    def test_unnamedPeer(self) -> None:
        """
        A datagram from a UNIX socket without a name is passed to C{respond}.  The reply
        is counted as dropped, and no rule is called.
        """

        def rule(datagram: bytes, reply: bytes, addr: Any) -> None:
            raise ZeroDivisionError

        protocol = ScriptedResponder(b"x", None, guard=Guard(rules=[rule]))
        self.assertEqual(replies(protocol, b"a", b"b", addr=None), [])
        self.assertEqual(protocol.calls, [(b"a", None), (b"b", None)])
        self.assertCounts(protocol, 0, unnamed_peer=1, no_reply=1)

    def test_drops(self) -> None:
        """
        Drops of a batch are logged once for each reason, with their number.
        """
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        protocol = ScriptedResponder(b"1", b"2", "text", b"4")
        protocol.answer([b"a"] * 4, [REFLECTOR, REFLECTOR, PEER, PEER])
        self.assertEqual(
            [(event["count"], event["reason"]) for event in events],
            [(2, "source port"), (1, "error")],
        )

    def test_counts(self) -> None:
        """
        Datagrams and replies are counted, for an unknown family unless a service has
        set it.
        """
        protocol = ScriptedResponder(b"1", b"2", b"3")
        replies(protocol, b"a", b"b")
        protocol.family = "ipv4"
        replies(protocol, b"c")
        self.assertEqual(protocol.counters.families, {"unknown": 2, "ipv4": 1})
        self.assertEqual(protocol.counters.answered, 3)

    def test_sendingFails(self) -> None:
        """
        A reply that cannot be sent is counted by its error, and nothing is raised.
        """
        for error, reason in (
            (OSError(ENOBUFS, "no buffers"), "ENOBUFS"),
            (MessageLengthError("too long"), "EMSGSIZE"),
        ):
            protocol = ScriptedResponder(b"x")
            protocol.makeConnection(FailingTransport(error))
            protocol.datagramReceived(b"a", PEER)
            self.assertCounts(protocol, 0, **{reason: 1})

    def test_sendFailed(self) -> None:
        """
        Replies that the port could not send are counted as dropped.
        """
        protocol = ScriptedResponder(b"1", b"2", b"3")
        replies(protocol, b"a", b"b", b"c")
        protocol.sendFailed(ENOBUFS, 2)
        self.assertCounts(protocol, 1, ENOBUFS=2)

    def test_errorWithoutName(self) -> None:
        """
        An error without a name is counted by its number.
        """
        protocol = Responder()
        protocol.sendFailed(99_999, 1)
        self.assertEqual(protocol.counters.dropped, {"error 99999": 1})

    def test_group(self) -> None:
        """
        A datagram to a broadcast or multicast address is counted as dropped.
        """
        protocol = ScriptedResponder()
        protocol.groupDatagramReceived(b"a", PEER)
        self.assertEqual(protocol.calls, [])
        self.assertCounts(protocol, 0, broadcast=1)

    def test_quiet(self) -> None:
        """
        Nothing is logged when it starts and stops.
        """
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        protocol = Responder()
        protocol.makeConnection(FakeDatagramTransport())
        protocol.doStop()
        self.assertEqual(list(events), [])
