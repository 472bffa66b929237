"""
Tests for L{shout.protocol.Shout} and L{shout.protocol.UnicodeShout}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis.strategies import binary, text
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout import Guard, Shout, UnicodeShout
from shout import protocol as protocols
from shout.guard import Limit, LoopGuard
from tests.properties import untimed
from tests.transports import deliver

PEER = ("192.0.2.1", 4000)
REFLECTOR = ("192.0.2.1", 7)

# Time stands still, so that no answer to a batch ends early.
STOPPED = Clock().seconds


def replies(protocol: Shout, *datagrams: bytes, addr: Any = PEER) -> list[Any]:
    """
    Deliver datagrams to a protocol, and return what it writes.
    """
    return deliver(protocol, *datagrams, addr=addr)


class ShoutTests(SynchronousTestCase):
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

    @untimed
    @given(binary())
    def test_keepsTheLength(self, datagram: bytes) -> None:
        """
        A reply is as long as its datagram, and capitals are unchanged.
        """
        protocol = Shout(seconds=STOPPED)
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

    def test_overrideRespond(self) -> None:
        """
        A subclass can override C{respond} instead, and call that of L{Shout}.
        """

        class Greeting(Shout):
            def respond(self, datagram: bytes, addr: Any) -> bytes | None:
                if not datagram:
                    return None
                return b"%s: %s" % (addr[0].encode(), super().respond(datagram, addr))

        answers = Greeting(seconds=STOPPED).answer([b"a", b"", b"b"], [PEER] * 3)
        self.assertEqual(answers, [b"192.0.2.1: A", None, b"192.0.2.1: B"])

    def test_attributes(self) -> None:
        """
        C{transform} and C{respond} can be attributes of the instance.
        """
        protocol = Shout(seconds=STOPPED)
        protocol.transform = lambda datagram: b"x"  # type: ignore[method-assign]
        self.assertEqual(protocol.answer([b"a", b"b"], [PEER] * 2), [b"x"] * 2)
        protocol.respond = lambda datagram, addr: b"y"  # type: ignore[method-assign]
        self.assertEqual(protocol.answer([b"a", b"b"], [PEER] * 2), [b"y"] * 2)
        protocol = Shout(seconds=STOPPED)
        protocol.respond = lambda datagram, addr: b"z"  # type: ignore[method-assign]
        self.assertEqual(protocol.answer([b"a", b"b"], [PEER] * 2), [b"z"] * 2)

    def test_patched(self) -> None:
        """
        C{transform} and C{respond} can be replaced in the class.
        """
        self.patch(Shout, "transform", lambda self, datagram: b"x")
        self.assertEqual(
            Shout(seconds=STOPPED).answer([b"a", b"b"], [PEER] * 2), [b"x"] * 2
        )
        self.patch(Shout, "respond", lambda self, datagram, addr: b"y")
        self.assertEqual(
            Shout(seconds=STOPPED).answer([b"a", b"b"], [PEER] * 2), [b"y"] * 2
        )

    def test_wrongType(self) -> None:
        """
        A reply of C{transform} that is not C{bytes} is an error, which names the
        method, the class, and the types.
        """

        class Text(Shout):
            def transform(self, datagram: bytes) -> Any:
                return {b"none": None, b"text": "text"}.get(datagram, datagram)

        for datagram, name in (b"none", "NoneType"), (b"text", "str"):
            protocol = Text(seconds=STOPPED)
            peers = [("192.0.2.1", 4000), ("192.0.2.1", 4001)]
            first, error = protocol.answer([b"a", datagram], peers)
            self.assertEqual(first, b"a")
            self.assertEqual(
                repr(error),
                repr(TypeError(f"Text.transform() returned {name}, not bytes")),
            )
            self.assertRaises(TypeError, replies, Text(), datagram)
            self.assertEqual(protocol.counters.received, 2)
            self.assertEqual(protocol.counters.answered, 1)
            self.assertEqual(protocol.counters.dropped, {"error": 1})

    def test_slowTransform(self) -> None:
        """
        After 1 ms of C{transform} the replies so far are returned.
        """
        clock = Clock()

        class Slow(Shout):
            def transform(self, datagram: bytes) -> bytes:
                clock.advance(0.005)
                return datagram + b"!"

        protocol = Slow(seconds=clock.seconds)
        self.assertEqual(protocol.answer([b"a"] * 64, [PEER] * 64), [b"a!"])
        self.assertEqual(protocol.counters.received, 1)


class BatchTests(SynchronousTestCase):
    """
    Tests for the batches of L{Shout}, with the C function if it is built.
    """

    def setUp(self) -> None:
        self.clock = Clock()

    def test_everyByte(self) -> None:
        """
        Only the ASCII lower-case letters change.
        """
        everyByte = bytes(range(256))
        [(reply, _)] = replies(Shout(), everyByte)
        changed = [a for a, b in zip(everyByte, reply, strict=True) if a != b]
        self.assertEqual(bytes(changed), b"abcdefghijklmnopqrstuvwxyz")
        self.assertEqual(reply[ord("a") : ord("z") + 1], b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

    def test_unnamedPeer(self) -> None:
        """
        A datagram from a UNIX socket without a name is counted as dropped.
        """
        protocol = Shout(seconds=STOPPED)
        self.assertEqual(replies(protocol, b"a", addr=None), [])
        self.assertEqual(protocol.answer([b"a", b"b"], [PEER, None]), [b"A", None])
        self.assertEqual(protocol.counters.received, 3)
        self.assertEqual(protocol.counters.answered, 1)
        self.assertEqual(protocol.counters.dropped, {"unnamed peer": 2})

    def test_mixed(self) -> None:
        """
        The guard checks each datagram of a batch: ordinary ones, fixed points, and
        those from reflectors.
        """
        protocol = Shout(seconds=self.clock.seconds)
        protocol.answer([b"a"], [PEER])
        fixed = [b"X"] * 150
        replies = protocol.answer(
            [b"a", b"b", *fixed, b"c", b"D"],
            [PEER, REFLECTOR, *[PEER] * 150, PEER, REFLECTOR],
        )
        burst = LoopGuard.burst
        expected = [b"A", None, *[b"X"] * burst, *[None] * (150 - burst), b"C", None]
        self.assertEqual(replies, expected)
        self.assertEqual(protocol.counters.dropped, {"source port": 2, "loop": 50})
        self.assertEqual(protocol.counters.received, 155)
        self.assertEqual(protocol.counters.answered, 103)

    def test_acceptedPeers(self) -> None:
        """
        A batch from accepted peers alone is not checked, unless it has a fixed point.
        """
        guard = Guard([lambda addr: "refused"])
        other = ("192.0.2.2", 4000)
        guard.accepted |= {PEER, other}
        protocol = Shout(guard, STOPPED)
        peers = [PEER, other, PEER]
        self.assertEqual(protocol.answer([b"a", b"b", b"c"], peers), [b"A", b"B", b"C"])
        self.assertEqual(protocol.counters.families, {"unknown": 3})
        self.assertEqual(protocol.counters.answered, 3)
        self.assertEqual(protocol.answer([b"a", b"B", b"c"], peers), [b"A", None, b"C"])

    def test_guardRaises(self) -> None:
        """
        If a rule raises, its datagram alone gets no reply.
        """
        error = ZeroDivisionError()

        def rule(datagram: bytes, reply: bytes, addr: Any) -> None:
            if datagram == b"b":
                raise error

        protocol = Shout(Guard(rules=[rule]), STOPPED)
        answers = protocol.answer([b"a", b"b", b"c"], [PEER] * 3)
        self.assertEqual(answers, [b"A", error, b"C"])
        self.assertEqual(protocol.counters.received, 3)
        self.assertEqual(protocol.counters.answered, 2)
        self.assertEqual(protocol.counters.dropped, {"error": 1})

    def test_slowGuard(self) -> None:
        """
        After 1 ms of the guard's work the replies so far are returned.
        """

        def rule(datagram: bytes, reply: bytes, addr: Any) -> None:
            self.clock.advance(0.0006)

        protocol = Shout(Guard(rules=[rule]), self.clock.seconds)
        answers = protocol.answer([b"a", b"b", b"c"], [PEER] * 3)
        self.assertEqual(answers, [b"A", b"B"])
        self.assertEqual(protocol.counters.received, 2)

    def test_large(self) -> None:
        """
        One call answers at most 1 MB, which takes about 1 ms, whether or not the guard
        checks each reply.
        """
        datagrams = [b"a" * 65_536] * 20
        for guard in Guard(), Guard(rules=[Limit(1000)]):
            protocol = Shout(guard, self.clock.seconds)
            protocol.answer([b"a"], [PEER])
            answers = protocol.answer(datagrams, [PEER] * 20)
            self.assertEqual(answers, [b"A" * 65_536] * 16)
            self.assertEqual(protocol.counters.received, 17)
            self.assertEqual(protocol.counters.answered, 17)


class BatchInPythonTests(BatchTests):
    """
    Tests for the batches of L{Shout} without the C function.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(protocols, "_upper", protocols._upperInPython)


class UnicodeShoutTests(SynchronousTestCase):
    """
    Tests for L{UnicodeShout}.
    """

    def test_reply(self) -> None:
        """
        Each datagram of a batch is answered.
        """
        answers = UnicodeShout(seconds=STOPPED).answer(["ß".encode(), b"x"], [PEER] * 2)
        self.assertEqual(answers, [b"SS", b"X"])

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
