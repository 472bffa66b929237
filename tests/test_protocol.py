"""
Tests for L{shout.protocol}.
"""

from __future__ import annotations

from errno import ENOBUFS
from typing import Any

from hypothesis import given
from hypothesis.strategies import binary, text
from twisted.internet.error import MessageLengthError
from twisted.internet.testing import EventLoggingObserver, FakeDatagramTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from shout import Guard, Shout, UnicodeShout
from shout.guard import LoopGuard
from tests.properties import untimed
from tests.transports import FailingTransport

PEER = ("192.0.2.1", 4000)


def replies(protocol: Shout, *datagrams: bytes, addr: Any = PEER) -> list[Any]:
    """
    Deliver datagrams to a protocol, and return what it writes.
    """
    transport = FakeDatagramTransport()
    protocol.makeConnection(transport)
    for datagram in datagrams:
        protocol.datagramReceived(datagram, addr)
    return list(transport.written)


class ShoutTests(TestCase):
    """
    Tests for L{Shout}.
    """

    def test_answersThePeer(self) -> None:
        """
        The reply is sent to the source of the datagram.
        """
        self.assertEqual(replies(Shout(), b"hello"), [(b"HELLO", PEER)])

    def test_oneReplyPerDatagram(self) -> None:
        """
        Each datagram is answered in order, including an empty one.
        """
        self.assertEqual(
            [reply for reply, _ in replies(Shout(), b"a", b"", b"b")], [b"A", b"", b"B"]
        )

    def test_everyByte(self) -> None:
        """
        Only the ASCII lower-case letters change.
        """
        everyByte = bytes(range(256))
        [(reply, _)] = replies(Shout(), everyByte)
        changed = [a for a, b in zip(everyByte, reply, strict=True) if a != b]
        self.assertEqual(bytes(changed), b"abcdefghijklmnopqrstuvwxyz")
        self.assertEqual(reply[ord("a") : ord("z") + 1], b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

    @untimed
    @given(binary())
    def test_keepsTheLength(self, datagram: bytes) -> None:
        """
        A reply is as long as its datagram, and capitals are unchanged.
        """
        protocol = Shout()
        reply = protocol.transform(datagram)
        self.assertEqual(len(reply), len(datagram))
        self.assertEqual(protocol.transform(reply), reply)

    def test_overrideTransform(self) -> None:
        """
        A subclass answers with the result of its own C{transform}.
        """

        class Reverse(Shout):
            def transform(self, datagram: bytes) -> bytes:
                return datagram[::-1]

        self.assertEqual(replies(Reverse(), b"abc"), [(b"cba", PEER)])

    def test_counts(self) -> None:
        """
        Datagrams and replies are counted, for an unknown family unless a service has
        set it.
        """
        protocol = Shout()
        replies(protocol, b"a", b"b")
        self.assertEqual(protocol.counters.families, {"unknown": 2})
        self.assertEqual(protocol.counters.answered, 2)

    def test_unnamedPeer(self) -> None:
        """
        A datagram from a UNIX socket without a name is counted as dropped.
        """
        protocol = Shout()
        self.assertEqual(replies(protocol, b"a", addr=None), [])
        self.assertEqual(protocol.counters.received, 1)
        self.assertEqual(protocol.counters.answered, 0)
        self.assertEqual(protocol.counters.dropped, {"unnamed peer": 1})

    def test_sendingFails(self) -> None:
        """
        A reply that cannot be sent is counted by its error, and nothing is raised.
        """
        protocol = Shout()
        protocol.makeConnection(FailingTransport(OSError(ENOBUFS, "no buffers")))
        protocol.datagramReceived(b"a", PEER)
        self.assertEqual(protocol.counters.answered, 0)
        self.assertEqual(protocol.counters.dropped, {"ENOBUFS": 1})

    def test_replyTooLong(self) -> None:
        """
        A reply that is too long for a datagram is counted, and nothing is raised.
        """
        protocol = Shout()
        protocol.makeConnection(FailingTransport(MessageLengthError("too long")))
        protocol.datagramReceived(b"a", PEER)
        self.assertEqual(protocol.counters.dropped, {"EMSGSIZE": 1})

    def test_ruleRaises(self) -> None:
        """
        When a rule raises, nothing of the batch has been counted.
        """

        def rule(datagram: bytes, reply: bytes, addr: Any) -> None:
            if datagram == b"bad":
                raise ZeroDivisionError()

        protocol = Shout(Guard(rules=[rule]))
        peers = [("192.0.2.1", 7), PEER]
        self.assertRaises(ZeroDivisionError, protocol.answer, [b"a", b"bad"], peers)
        self.assertEqual(protocol.counters.received, 0)
        self.assertEqual(protocol.counters.dropped, {})

    def test_mixed(self) -> None:
        """
        The guard checks each datagram of a batch: ordinary ones, fixed points, and
        those from reflectors.
        """
        protocol = Shout()
        protocol.answer([b"a"], [PEER])
        bad = ("192.0.2.1", 7)
        fixed = [b"X"] * 150
        replies = protocol.answer(
            [b"a", b"b", *fixed, b"c", b"D"], [PEER, bad, *[PEER] * 150, PEER, bad]
        )
        burst = LoopGuard.burst
        expected = [b"A", None, *[b"X"] * burst, *[None] * (150 - burst), b"C", None]
        self.assertEqual(replies, expected)
        self.assertEqual(protocol.counters.dropped, {"source port": 2, "loop": 50})
        self.assertEqual(protocol.counters.received, 155)
        self.assertEqual(protocol.counters.answered, 103)

    def test_acceptedPeer(self) -> None:
        """
        Ordinary datagrams of accepted peers are not checked, also in a batch with
        others.
        """
        guard = Guard([lambda addr: "refused"])
        guard.accepted.add(PEER)
        protocol = Shout(guard)
        other = ("192.0.2.2", 4000)
        self.assertEqual(protocol.answer([b"a"], [PEER]), [b"A"])
        self.assertEqual(protocol.answer([b"a"] * 2, [PEER, other]), [b"A", None])

    def test_group(self) -> None:
        """
        A datagram to a broadcast or multicast address is counted as dropped.
        """
        protocol = Shout()
        transport = FakeDatagramTransport()
        protocol.makeConnection(transport)
        protocol.groupDatagramReceived(b"a", PEER)
        self.assertEqual(transport.written, [])
        self.assertEqual(protocol.counters.received, 1)
        self.assertEqual(protocol.counters.answered, 0)
        self.assertEqual(protocol.counters.dropped, {"broadcast": 1})

    def test_quiet(self) -> None:
        """
        Nothing is logged when it starts and stops.
        """
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        protocol = Shout()
        protocol.makeConnection(FakeDatagramTransport())
        protocol.doStop()
        self.assertEqual(list(events), [])

    def test_sendFailed(self) -> None:
        """
        Replies that the port could not send are counted as dropped.
        """
        protocol = Shout()
        replies(protocol, b"a", b"b", b"c")
        protocol.sendFailed(ENOBUFS, 2)
        self.assertEqual(protocol.counters.answered, 1)
        self.assertEqual(protocol.counters.dropped, {"ENOBUFS": 2})

    def test_errorWithoutName(self) -> None:
        """
        An error without a name is counted by its number.
        """
        protocol = Shout()
        protocol.sendFailed(99_999, 1)
        self.assertEqual(protocol.counters.dropped, {"error 99999": 1})

    def test_errorInTransform(self) -> None:
        """
        Exceptions from C{transform} are not caught.
        """

        class Broken(Shout):
            def transform(self, datagram: bytes) -> bytes:
                raise OSError("not from the network")

        protocol = Broken()
        self.assertRaises(OSError, replies, protocol, b"a")
        self.assertEqual(protocol.counters.dropped, {})


class UnicodeShoutTests(SynchronousTestCase):
    """
    Tests for L{UnicodeShout}.
    """

    def test_letters(self) -> None:
        """
        Letters beyond ASCII are converted to upper case as defined by Unicode.
        """
        [(reply, _)] = replies(UnicodeShout(), "straße, ñandú, ωμέγα".encode())
        self.assertEqual(reply.decode(), "STRASSE, ÑANDÚ, ΩΜΈΓΑ")

    @untimed
    @given(text())
    def test_anyText(self, original: str) -> None:
        """
        The reply to UTF-8 text is that of C{str.upper}, and at most three times as
        long.
        """
        datagram = original.encode()
        reply = UnicodeShout().transform(datagram)
        self.assertEqual(reply.decode(), original.upper())
        self.assertLessEqual(len(reply), 3 * len(datagram))

    def test_notUTF8(self) -> None:
        """
        Bytes that are not UTF-8 are unchanged between text in capitals.
        """
        datagram = b"a\xffb\xc3" + "ß".encode() + b"\x80c"
        self.assertEqual(UnicodeShout().transform(datagram), b"A\xffB\xc3SS\x80C")

    @untimed
    @given(binary())
    def test_anyBytes(self, datagram: bytes) -> None:
        """
        Every datagram has a reply, and to transform a reply does not change it.
        """
        reply = UnicodeShout().transform(datagram)
        self.assertEqual(UnicodeShout().transform(reply), reply)
