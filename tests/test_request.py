"""
Tests for L{shout.request}.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from shout.request import (
    AskError,
    NoAnswer,
    Refused,
    RequestProtocol,
    TooLong,
    Unreachable,
    WrongAnswer,
    quoteDatagram,
)
from tests.properties import untimed


class ConnectedTransport:
    """
    The transport of a connected port that keeps what is written, or fails.

    @ivar peerError: The last error from the peer, as of
        L{DatagramPort<shout.udp.port.DatagramPort>}.

    @ivar written: The datagrams written.

    @ivar error: The error that writing fails with, if any.
    """

    def __init__(self) -> None:
        self.peerError: OSError | None = None
        self.written: list[bytes] = []
        self.error: Exception | None = None

    def write(self, datagram: bytes, addr: Any = None) -> None:
        assert addr is None, "a connected port takes no address"
        if self.error is not None:
            raise self.error
        self.written.append(datagram)


class FakeRequests:
    """
    A L{RequestProtocol} with a fake transport and a clock.

    @ivar unexpected: The calls of C{onUnexpectedReply}.
    """

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        # An uptime is not near 0.
        self.clock.advance(1000)
        self.unexpected: list[tuple[bytes, bytes | None]] = []
        arguments: dict[str, Any] = {
            "peer": "192.0.2.1:9999",
            "timeout": 1.0,
            "retries": 2,
            "transform": bytes.upper,
            "onUnexpectedReply": lambda *reply: self.unexpected.append(reply),
            "reactor": self.clock,
            **options,
        }
        self.protocol = RequestProtocol(**arguments)
        self.transport = ConnectedTransport()
        self.protocol.makeConnection(self.transport)  # type: ignore[arg-type]

    def ask(self, datagram: bytes) -> Deferred[bytes]:
        return self.protocol.ask(datagram)

    def receive(self, *replies: bytes) -> None:
        for reply in replies:
            self.protocol.datagramReceived(reply, ("192.0.2.1", 9999))


class RequestProtocolTests(TestCase):
    """
    Tests for L{RequestProtocol}.
    """

    def setUp(self) -> None:
        self.requests = FakeRequests()

    def test_answer(self) -> None:
        """
        A datagram is sent unchanged, and its reply completes the request.
        """
        answer = self.requests.ask(b"stra\xc3\x9fe\n\x00")
        self.assertNoResult(answer)
        self.requests.receive(b"STRA\xc3\x9fE\n\x00")
        self.assertEqual(self.successResultOf(answer), b"STRA\xc3\x9fE\n\x00")
        self.assertEqual(self.requests.transport.written, [b"stra\xc3\x9fe\n\x00"])
        self.assertEqual(self.requests.clock.getDelayedCalls(), [])

    def test_empty(self) -> None:
        """
        An empty datagram has an empty reply.
        """
        answer = self.requests.ask(b"")
        self.requests.receive(b"")
        self.assertEqual(self.successResultOf(answer), b"")

    def test_transform(self) -> None:
        """
        The transform yields the right reply.
        """
        requests = FakeRequests(transform=lambda datagram: datagram[::-1])
        answer = requests.ask(b"abc")
        requests.receive(b"cba")
        self.assertEqual(self.successResultOf(answer), b"cba")

    def test_overtaking(self) -> None:
        """
        Replies may arrive in any order.
        """
        one, two = self.requests.ask(b"one"), self.requests.ask(b"two")
        self.requests.receive(b"TWO")
        self.assertNoResult(one)
        self.assertEqual(self.successResultOf(two), b"TWO")
        self.requests.receive(b"ONE")
        self.assertEqual(self.successResultOf(one), b"ONE")

    def test_equal(self) -> None:
        """
        A reply to several requests completes the oldest.
        """
        first, second = self.requests.ask(b"same"), self.requests.ask(b"SAME")
        self.requests.receive(b"SAME")
        self.assertEqual(self.successResultOf(first), b"SAME")
        self.assertNoResult(second)
        self.requests.receive(b"SAME")
        self.assertEqual(self.successResultOf(second), b"SAME")

    def test_retries(self) -> None:
        """
        A datagram is sent again after each timeout, until its reply arrives.
        """
        answer = self.requests.ask(b"hello")
        self.requests.clock.advance(0.9)
        self.assertEqual(self.requests.transport.written, [b"hello"])
        self.requests.clock.advance(0.1)
        self.assertEqual(self.requests.transport.written, [b"hello"] * 2)
        self.requests.clock.advance(1)
        self.assertEqual(self.requests.transport.written, [b"hello"] * 3)
        self.requests.receive(b"HELLO")
        self.assertEqual(self.successResultOf(answer), b"HELLO")

    def test_noAnswer(self) -> None:
        """
        After the last try the request fails; the message has the peer, the number of
        tries and the time.
        """
        answer = self.requests.ask(b"hello")
        self.requests.clock.pump([1, 1, 1])
        error = self.failureResultOf(answer, NoAnswer).value
        self.assertEqual(
            str(error), "no answer from 192.0.2.1:9999 to 3 tries in 3.0 seconds"
        )
        self.assertEqual(self.requests.transport.written, [b"hello"] * 3)

    def test_noAnswerToFixedPoint(self) -> None:
        """
        The error has a flag for a datagram that equals its reply.
        """
        for datagram, isFixedPoint in ((b"hello", False), (b"HELLO", True)):
            answer = self.requests.ask(datagram)
            self.requests.clock.pump([1, 1, 1])
            error = self.failureResultOf(answer, NoAnswer).value
            self.assertEqual(error.isFixedPoint, isFixedPoint)
        self.assertFalse(NoAnswer("none").isFixedPoint)

    def test_noRetries(self) -> None:
        """
        Without retries there is one try.
        """
        requests = FakeRequests(retries=0, timeout=0.5)
        answer = requests.ask(b"hello")
        requests.clock.advance(0.5)
        error = self.failureResultOf(answer, NoAnswer).value
        self.assertEqual(
            str(error), "no answer from 192.0.2.1:9999 to 1 try in 0.5 seconds"
        )

    def test_duplicate(self) -> None:
        """
        A reply that arrives twice is neither wrong nor unexpected.
        """
        one = self.requests.ask(b"one")
        self.requests.receive(b"ONE", b"ONE")
        self.assertEqual(self.successResultOf(one), b"ONE")
        two = self.requests.ask(b"two")
        self.requests.receive(b"ONE")
        self.assertNoResult(two)
        self.requests.receive(b"TWO")
        self.assertEqual(self.successResultOf(two), b"TWO")
        self.assertEqual(self.requests.unexpected, [])

    def test_late(self) -> None:
        """
        A reply that arrives after its request was given up is not wrong.
        """
        late = self.requests.ask(b"late")
        self.requests.clock.pump([1, 1, 1])
        self.failureResultOf(late, NoAnswer)
        other = self.requests.ask(b"other")
        self.requests.receive(b"LATE")
        self.assertNoResult(other)

    def test_wrong(self) -> None:
        """
        A wrong reply ends no request, and the right one may follow.
        """
        one, two = self.requests.ask(b"one"), self.requests.ask(b"two")
        self.requests.receive(b"\xff1", b"eno", b"")
        self.assertNoResult(one)
        self.assertNoResult(two)
        self.requests.clock.pump([1, 1])
        self.assertEqual(self.requests.transport.written, [b"one", b"two"] * 3)
        self.requests.receive(b"TWO", b"ONE")
        self.assertEqual(self.successResultOf(one), b"ONE")
        self.assertEqual(self.successResultOf(two), b"TWO")
        self.assertEqual(self.requests.clock.getDelayedCalls(), [])

    def test_wrongAnswer(self) -> None:
        """
        After the last try the oldest request fails with the first wrong reply and
        their number; a younger one got no answer.
        """
        one = self.requests.ask(b"one")
        self.requests.clock.advance(0.5)
        two = self.requests.ask(b"two")
        self.requests.receive(b"\xff1", b"eno")
        self.requests.clock.pump([0.5] * 5)
        error = self.failureResultOf(one, WrongAnswer).value
        self.assertEqual((error.reply, error.count), (b"\xff1", 2))
        self.assertEqual(
            str(error),
            "192.0.2.1:9999 answered '\\xff1' instead of 'ONE' "
            "(2 wrong replies to 3 tries in 3.0 seconds)",
        )
        self.requests.clock.advance(0.5)
        self.failureResultOf(two, NoAnswer)
        self.assertEqual(WrongAnswer("wrong", b"").count, 1)

    def test_wrongAnswerToTheOldest(self) -> None:
        """
        The oldest request fails so even if its datagram was sent again since.
        """
        one = self.requests.ask(b"one")
        self.requests.clock.advance(0.5)
        two = self.requests.ask(b"two")
        self.requests.clock.advance(0.1)
        again = self.requests.ask(b"one")
        self.requests.receive(b"\xff1")
        self.requests.clock.pump([0.5] * 6)
        self.failureResultOf(one, WrongAnswer)
        self.failureResultOf(two, NoAnswer)
        self.failureResultOf(again, NoAnswer)

    def test_wrongAnswerOnce(self) -> None:
        """
        The message about one wrong reply to one try is in the singular.
        """
        requests = FakeRequests(retries=0)
        answer = requests.ask(b"one")
        requests.receive(b"")
        requests.clock.advance(1)
        error = self.failureResultOf(answer, WrongAnswer).value
        self.assertEqual((error.reply, error.count), (b"", 1))
        self.assertIn("(1 wrong reply to 1 try in 1.0 seconds)", str(error))

    def test_echo(self) -> None:
        """
        An echoed datagram is a wrong reply to its own request.
        """
        one, two = self.requests.ask(b"one"), self.requests.ask(b"two")
        self.requests.receive(b"two")
        self.requests.clock.pump([1, 1, 1])
        self.assertEqual(self.failureResultOf(two, WrongAnswer).value.reply, b"two")
        self.failureResultOf(one, NoAnswer)

    def test_onUnexpectedReply(self) -> None:
        """
        The first wrong reply to each request is reported when it arrives, with the
        right one.
        """
        self.requests.ask(b"one")
        self.requests.receive(b"1", b"2")
        self.requests.clock.advance(0.1)
        self.requests.ask(b"two")
        self.requests.receive(b"two", b"two", b"3")
        self.assertEqual(self.requests.unexpected, [(b"1", b"ONE"), (b"two", b"TWO")])

    def test_unexpected(self) -> None:
        """
        Each reply that arrives when no request is in flight is reported.
        """
        self.requests.receive(b"BOO", b"BOO")
        self.assertEqual(self.requests.unexpected, [(b"BOO", None)] * 2)

    def test_boundedMemory(self) -> None:
        """
        The number of replies remembered is limited.
        """
        for number in range(5000):
            self.requests.ask(b"%d" % number)
            self.requests.receive(b"%d" % number)
        self.requests.receive(b"4999", b"0")
        self.assertEqual(self.requests.unexpected, [(b"0", None)])

    def test_refused(self) -> None:
        """
        An ICMP error fails all requests in flight at once, and none later.
        """
        answers = [self.requests.ask(b"one"), self.requests.ask(b"two")]
        self.requests.protocol.connectionRefused()
        for answer in answers:
            error = self.failureResultOf(answer, Refused).value
            self.assertEqual(
                str(error), "192.0.2.1:9999 refused: nothing is listening there"
            )
        self.assertEqual(self.requests.clock.getDelayedCalls(), [])
        self.assertNoResult(self.requests.ask(b"three"))

    def test_rejected(self) -> None:
        """
        An ICMP error other than port unreachable is named in the message.
        """
        number = errno.EHOSTUNREACH
        peerError = OSError(number, os.strerror(number))
        self.requests.transport.peerError = peerError
        answer = self.requests.ask(b"one")
        self.requests.protocol.connectionRefused()
        error = self.failureResultOf(answer, Refused).value
        message = f"refused: {os.strerror(number)} (from the network)"
        self.assertIn(message, str(error))

    def test_refusedAndCancelled(self) -> None:
        """
        The first request that fails may cancel others.
        """
        one, two = self.requests.ask(b"one"), self.requests.ask(b"two")
        one.addErrback(lambda _: two.cancel())
        self.requests.protocol.connectionRefused()
        self.successResultOf(one)
        self.failureResultOf(two, CancelledError)

    def test_refusedWhileSending(self) -> None:
        """
        An ICMP error that appears during the write fails the request.
        """

        def refuse(datagram: bytes, addr: Any = None) -> None:
            self.requests.protocol.connectionRefused()

        self.requests.transport.write = refuse  # type: ignore[method-assign]
        self.failureResultOf(self.requests.ask(b"one"), Refused)
        self.assertEqual(self.requests.clock.getDelayedCalls(), [])

    def test_tooLong(self) -> None:
        """
        A datagram that is too long for the system fails; the message has its length.
        """
        self.requests.transport.error = MessageLengthError("message too long")
        error = self.failureResultOf(self.requests.ask(b"x" * 70000), TooLong).value
        self.assertEqual(str(error), "70000 bytes do not fit in a datagram")

    def test_unreachable(self) -> None:
        """
        Any other error of the write fails the request, and is in the message.
        """
        number = errno.ENETUNREACH
        self.requests.transport.error = OSError(number, os.strerror(number))
        error = self.failureResultOf(self.requests.ask(b"x"), Unreachable).value
        self.assertEqual(str(error), "192.0.2.1:9999: Network is unreachable")
        self.assertEqual(self.requests.clock.getDelayedCalls(), [])

    def test_full(self) -> None:
        """
        If the send buffer is full, the datagram is sent soon after, and no try is
        lost.
        """
        self.requests.transport.error = BlockingIOError(errno.EAGAIN, "full")
        answer = self.requests.ask(b"hello")
        self.requests.clock.advance(RequestProtocol.pause)
        self.requests.transport.error = None
        self.requests.clock.advance(RequestProtocol.pause)
        self.assertEqual(self.requests.transport.written, [b"hello"])
        self.requests.clock.pump([1, 1])
        self.assertEqual(self.requests.transport.written, [b"hello"] * 3)
        self.requests.receive(b"HELLO")
        self.assertEqual(self.successResultOf(answer), b"HELLO")

    def test_fullForGood(self) -> None:
        """
        If the send buffer stays full, the request fails after the time of all tries.
        """
        self.requests.transport.error = OSError(errno.ENOBUFS, "full")
        answer = self.requests.ask(b"hello")
        self.requests.clock.pump([RequestProtocol.pause] * 299)
        self.assertNoResult(answer)
        self.requests.clock.pump([RequestProtocol.pause] * 2)
        self.failureResultOf(answer, NoAnswer)
        self.assertEqual(self.requests.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """
        Cancelling ends a request, and its late reply is not wrong.
        """
        answer, other = self.requests.ask(b"one"), self.requests.ask(b"two")
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(len(self.requests.clock.getDelayedCalls()), 1)
        self.requests.receive(b"ONE")
        self.assertNoResult(other)

    def test_stop(self) -> None:
        """
        Closing the port fails the requests in flight.
        """
        answer = self.requests.ask(b"one")
        self.requests.protocol.doStop()
        error = self.failureResultOf(answer, AskError).value
        self.assertEqual(str(error), "the client of 192.0.2.1:9999 was closed")
        self.assertEqual(self.requests.clock.getDelayedCalls(), [])

    def test_quiet(self) -> None:
        """
        The protocol starts and stops without a log line.
        """
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        FakeRequests().protocol.doStop()
        self.assertEqual(list(events), [])


class MatchingTests(SynchronousTestCase):
    """
    Tests for the matching of replies with requests.
    """

    # Without a deadline, as the machine may be busy.
    @untimed
    @given(st.data())
    def test_anyOrder(self, data: st.DataObject) -> None:
        """
        If every reply arrives at least once, in any order, every request gets its own,
        and none is wrong.
        """
        texts = data.draw(st.lists(st.binary(max_size=3), max_size=20))
        twice = data.draw(st.lists(st.sampled_from(texts))) if texts else []
        replies = [text.upper() for text in texts + twice]
        requests = FakeRequests()
        answers = [requests.ask(text) for text in texts]
        requests.receive(*data.draw(st.permutations(replies)))
        self.assertEqual(
            [self.successResultOf(answer) for answer in answers],
            [text.upper() for text in texts],
        )
        self.assertEqual(requests.unexpected, [])
        self.assertEqual(requests.clock.getDelayedCalls(), [])

    @untimed
    @given(
        st.lists(st.binary(max_size=3), max_size=10),
        st.lists(st.binary(max_size=3), max_size=20),
    )
    def test_anyReplies(self, texts: list[bytes], replies: list[bytes]) -> None:
        """
        Whatever arrives, every request completes once, and successfully only by its own
        reply.
        """
        requests = FakeRequests()
        settled: list[bytes] = []
        for text in texts:
            answer = requests.ask(text)
            answer.addCallbacks(
                lambda reply, text: self.assertEqual(reply, text.upper()),
                lambda failure, text: failure.trap(NoAnswer, WrongAnswer),
                callbackArgs=(text,),
                errbackArgs=(text,),
            )
            answer.addCallback(lambda _, text: settled.append(text), text)
        requests.receive(*replies)
        requests.clock.pump([1, 1, 1])
        self.assertEqual(sorted(settled), sorted(texts))
        self.assertEqual(requests.clock.getDelayedCalls(), [])


class QuoteDatagramTests(SynchronousTestCase):
    """
    Tests for L{quoteDatagram}.
    """

    def test_short(self) -> None:
        """
        A short datagram is quoted whole, without control characters.
        """
        self.assertEqual(quoteDatagram(b"a\n\x1b[2J\xff"), r"'a\n\x1b[2J\xff'")

    def test_long(self) -> None:
        """
        A long datagram is cut, and its length added.
        """
        self.assertEqual(quoteDatagram(b"a" * 61), f"'{'a' * 50}'... (61 bytes)")
