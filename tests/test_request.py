"""
Tests for L{shout.request}.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
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


class ConnectedTransport:
    """
    Keeps what is written, or fails as a test wants it to.
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


class Asked:
    """
    A protocol that asks, with its transport, its clock, and what it did.
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
        self.asking = RequestProtocol(**arguments)
        self.transport = ConnectedTransport()
        self.asking.makeConnection(self.transport)  # type: ignore[arg-type]

    def ask(self, datagram: bytes) -> Deferred[bytes]:
        return self.asking.ask(datagram)

    def hear(self, *replies: bytes) -> None:
        for reply in replies:
            self.asking.datagramReceived(reply, ("192.0.2.1", 9999))


class AskingTests(TestCase):
    """
    Tests for L{RequestProtocol}.
    """

    def setUp(self) -> None:
        self.asked = Asked()

    def test_answer(self) -> None:
        """
        A datagram is sent as it is, and its reply answers it.
        """
        answer = self.asked.ask(b"stra\xc3\x9fe\n\x00")
        self.assertNoResult(answer)
        self.asked.hear(b"STRA\xc3\x9fE\n\x00")
        self.assertEqual(self.successResultOf(answer), b"STRA\xc3\x9fE\n\x00")
        self.assertEqual(self.asked.transport.written, [b"stra\xc3\x9fe\n\x00"])
        self.assertEqual(self.asked.clock.getDelayedCalls(), [])

    def test_empty(self) -> None:
        """
        An empty datagram is answered by an empty one.
        """
        answer = self.asked.ask(b"")
        self.asked.hear(b"")
        self.assertEqual(self.successResultOf(answer), b"")

    def test_transform(self) -> None:
        """
        The transform says what the reply has to be.
        """
        asked = Asked(transform=lambda datagram: datagram[::-1])
        answer = asked.ask(b"abc")
        asked.hear(b"cba")
        self.assertEqual(self.successResultOf(answer), b"cba")

    def test_overtaking(self) -> None:
        """
        Replies may come in any order.
        """
        one, two = self.asked.ask(b"one"), self.asked.ask(b"two")
        self.asked.hear(b"TWO")
        self.assertNoResult(one)
        self.assertEqual(self.successResultOf(two), b"TWO")
        self.asked.hear(b"ONE")
        self.assertEqual(self.successResultOf(one), b"ONE")

    def test_equal(self) -> None:
        """
        Of several requests with the same reply the oldest is answered first.
        """
        first, second = self.asked.ask(b"same"), self.asked.ask(b"SAME")
        self.asked.hear(b"SAME")
        self.assertEqual(self.successResultOf(first), b"SAME")
        self.assertNoResult(second)
        self.asked.hear(b"SAME")
        self.assertEqual(self.successResultOf(second), b"SAME")

    def test_retries(self) -> None:
        """
        A datagram is sent again after each timeout, until its reply comes.
        """
        answer = self.asked.ask(b"hello")
        self.asked.clock.advance(0.9)
        self.assertEqual(self.asked.transport.written, [b"hello"])
        self.asked.clock.advance(0.1)
        self.assertEqual(self.asked.transport.written, [b"hello"] * 2)
        self.asked.clock.advance(1)
        self.assertEqual(self.asked.transport.written, [b"hello"] * 3)
        self.asked.hear(b"HELLO")
        self.assertEqual(self.successResultOf(answer), b"HELLO")

    def test_noAnswer(self) -> None:
        """
        After the last try the request fails, and says whom it tried, how many
        times and for how long.
        """
        answer = self.asked.ask(b"hello")
        self.asked.clock.pump([1, 1, 1])
        error = self.failureResultOf(answer, NoAnswer).value
        self.assertEqual(
            str(error), "no answer from 192.0.2.1:9999 to 3 tries in 3.0 seconds"
        )
        self.assertEqual(self.asked.transport.written, [b"hello"] * 3)

    def test_noAnswerToFixedPoint(self) -> None:
        """
        The error tells whether what was asked equals the reply to it.
        """
        for datagram, isFixedPoint in ((b"hello", False), (b"HELLO", True)):
            answer = self.asked.ask(datagram)
            self.asked.clock.pump([1, 1, 1])
            error = self.failureResultOf(answer, NoAnswer).value
            self.assertEqual(error.isFixedPoint, isFixedPoint)
        self.assertFalse(NoAnswer("none").isFixedPoint)

    def test_noRetries(self) -> None:
        """
        Without retries there is one try.
        """
        asked = Asked(retries=0, timeout=0.5)
        answer = asked.ask(b"hello")
        asked.clock.advance(0.5)
        error = self.failureResultOf(answer, NoAnswer).value
        self.assertEqual(
            str(error), "no answer from 192.0.2.1:9999 to 1 try in 0.5 seconds"
        )

    def test_duplicate(self) -> None:
        """
        A reply that comes twice is neither a wrong answer to something else nor
        a stray.
        """
        one = self.asked.ask(b"one")
        self.asked.hear(b"ONE", b"ONE")
        self.assertEqual(self.successResultOf(one), b"ONE")
        two = self.asked.ask(b"two")
        self.asked.hear(b"ONE")
        self.assertNoResult(two)
        self.asked.hear(b"TWO")
        self.assertEqual(self.successResultOf(two), b"TWO")
        self.assertEqual(self.asked.unexpected, [])

    def test_late(self) -> None:
        """
        A reply that comes after its request was given up is not a wrong answer.
        """
        late = self.asked.ask(b"late")
        self.asked.clock.pump([1, 1, 1])
        self.failureResultOf(late, NoAnswer)
        other = self.asked.ask(b"other")
        self.asked.hear(b"LATE")
        self.assertNoResult(other)

    def test_wrong(self) -> None:
        """
        A reply that answers nothing ends no request, and the right one answers it
        still.
        """
        one, two = self.asked.ask(b"one"), self.asked.ask(b"two")
        self.asked.hear(b"\xff1", b"eno", b"")
        self.assertNoResult(one)
        self.assertNoResult(two)
        self.asked.clock.pump([1, 1])
        self.assertEqual(self.asked.transport.written, [b"one", b"two"] * 3)
        self.asked.hear(b"TWO", b"ONE")
        self.assertEqual(self.successResultOf(one), b"ONE")
        self.assertEqual(self.successResultOf(two), b"TWO")
        self.assertEqual(self.asked.clock.getDelayedCalls(), [])

    def test_wrongAnswer(self) -> None:
        """
        After the last try the oldest request fails with the wrong reply that came
        first, and the number of them; a younger one got no answer.
        """
        one = self.asked.ask(b"one")
        self.asked.clock.advance(0.5)
        two = self.asked.ask(b"two")
        self.asked.hear(b"\xff1", b"eno")
        self.asked.clock.pump([0.5] * 5)
        error = self.failureResultOf(one, WrongAnswer).value
        self.assertEqual((error.reply, error.count), (b"\xff1", 2))
        self.assertEqual(
            str(error),
            "192.0.2.1:9999 answered '\\xff1' instead of 'ONE' "
            "(2 wrong replies to 3 tries in 3.0 seconds)",
        )
        self.asked.clock.advance(0.5)
        self.failureResultOf(two, NoAnswer)
        self.assertEqual(WrongAnswer("wrong", b"").count, 1)

    def test_wrongAnswerToTheOldest(self) -> None:
        """
        So it is when the same was asked again since.
        """
        one = self.asked.ask(b"one")
        self.asked.clock.advance(0.5)
        two = self.asked.ask(b"two")
        self.asked.clock.advance(0.1)
        again = self.asked.ask(b"one")
        self.asked.hear(b"\xff1")
        self.asked.clock.pump([0.5] * 6)
        self.failureResultOf(one, WrongAnswer)
        self.failureResultOf(two, NoAnswer)
        self.failureResultOf(again, NoAnswer)

    def test_wrongAnswerOnce(self) -> None:
        """
        A single wrong reply to a single try is said as such.
        """
        asked = Asked(retries=0)
        answer = asked.ask(b"one")
        asked.hear(b"")
        asked.clock.advance(1)
        error = self.failureResultOf(answer, WrongAnswer).value
        self.assertEqual((error.reply, error.count), (b"", 1))
        self.assertIn("(1 wrong reply to 1 try in 1.0 seconds)", str(error))

    def test_echo(self) -> None:
        """
        A datagram that comes back unchanged is the wrong reply to its own request.
        """
        one, two = self.asked.ask(b"one"), self.asked.ask(b"two")
        self.asked.hear(b"two")
        self.asked.clock.pump([1, 1, 1])
        self.assertEqual(self.failureResultOf(two, WrongAnswer).value.reply, b"two")
        self.failureResultOf(one, NoAnswer)

    def test_onUnexpectedReply(self) -> None:
        """
        The first wrong reply to each request is reported when it comes, with the
        reply expected.
        """
        self.asked.ask(b"one")
        self.asked.hear(b"1", b"2")
        self.asked.clock.advance(0.1)
        self.asked.ask(b"two")
        self.asked.hear(b"two", b"two", b"3")
        self.assertEqual(self.asked.unexpected, [(b"1", b"ONE"), (b"two", b"TWO")])

    def test_stray(self) -> None:
        """
        Each reply that comes when nothing is awaited is reported.
        """
        self.asked.hear(b"BOO", b"BOO")
        self.assertEqual(self.asked.unexpected, [(b"BOO", None)] * 2)

    def test_boundedMemory(self) -> None:
        """
        However much was answered, a bounded part of it is remembered.
        """
        for number in range(5000):
            self.asked.ask(b"%d" % number)
            self.asked.hear(b"%d" % number)
        self.asked.hear(b"4999", b"0")
        self.assertEqual(self.asked.unexpected, [(b"0", None)])

    def test_refused(self) -> None:
        """
        A refusal fails at once all that is in flight, and nothing later.
        """
        answers = [self.asked.ask(b"one"), self.asked.ask(b"two")]
        self.asked.asking.connectionRefused()
        for answer in answers:
            error = self.failureResultOf(answer, Refused).value
            self.assertEqual(
                str(error), "192.0.2.1:9999 refused: nothing is listening there"
            )
        self.assertEqual(self.asked.clock.getDelayedCalls(), [])
        self.assertNoResult(self.asked.ask(b"three"))

    def test_rejected(self) -> None:
        """
        A refusal that is not for want of a listener says what it is for.
        """
        number = errno.EHOSTUNREACH
        peerError = OSError(number, os.strerror(number))
        self.asked.transport.peerError = peerError
        answer = self.asked.ask(b"one")
        self.asked.asking.connectionRefused()
        error = self.failureResultOf(answer, Refused).value
        message = f"refused: {os.strerror(number)}, says the network"
        self.assertIn(message, str(error))

    def test_refusedAndCancelled(self) -> None:
        """
        What fails first may cancel the rest.
        """
        one, two = self.asked.ask(b"one"), self.asked.ask(b"two")
        one.addErrback(lambda _: two.cancel())
        self.asked.asking.connectionRefused()
        self.successResultOf(one)
        self.failureResultOf(two, CancelledError)

    def test_refusedWhileSending(self) -> None:
        """
        A refusal that shows in the attempt to send fails the request.
        """

        def refuse(datagram: bytes, addr: Any = None) -> None:
            self.asked.asking.connectionRefused()

        self.asked.transport.write = refuse  # type: ignore[method-assign]
        self.failureResultOf(self.asked.ask(b"one"), Refused)
        self.assertEqual(self.asked.clock.getDelayedCalls(), [])

    def test_tooLong(self) -> None:
        """
        A datagram that the system finds too long fails, and says how long it is.
        """
        self.asked.transport.error = MessageLengthError("message too long")
        error = self.failureResultOf(self.asked.ask(b"x" * 70000), TooLong).value
        self.assertEqual(str(error), "70000 bytes do not fit in a datagram")

    def test_unreachable(self) -> None:
        """
        An error of the system fails the request, and is named.
        """
        number = errno.ENETUNREACH
        self.asked.transport.error = OSError(number, os.strerror(number))
        error = self.failureResultOf(self.asked.ask(b"x"), Unreachable).value
        self.assertEqual(str(error), "192.0.2.1:9999: Network is unreachable")
        self.assertEqual(self.asked.clock.getDelayedCalls(), [])

    def test_full(self) -> None:
        """
        When the system has no room for a datagram, it is sent soon after, and
        no try is lost.
        """
        self.asked.transport.error = BlockingIOError(errno.EAGAIN, "full")
        answer = self.asked.ask(b"hello")
        self.asked.clock.advance(RequestProtocol.pause)
        self.asked.transport.error = None
        self.asked.clock.advance(RequestProtocol.pause)
        self.assertEqual(self.asked.transport.written, [b"hello"])
        self.asked.clock.pump([1, 1])
        self.assertEqual(self.asked.transport.written, [b"hello"] * 3)
        self.asked.hear(b"HELLO")
        self.assertEqual(self.successResultOf(answer), b"HELLO")

    def test_fullForGood(self) -> None:
        """
        When the system never has room, the request fails after the time that
        all tries take.
        """
        self.asked.transport.error = OSError(errno.ENOBUFS, "full")
        answer = self.asked.ask(b"hello")
        self.asked.clock.pump([RequestProtocol.pause] * 299)
        self.assertNoResult(answer)
        self.asked.clock.pump([RequestProtocol.pause] * 2)
        self.failureResultOf(answer, NoAnswer)
        self.assertEqual(self.asked.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """
        Cancelling gives a request up, and its late reply is no wrong answer.
        """
        answer, other = self.asked.ask(b"one"), self.asked.ask(b"two")
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(len(self.asked.clock.getDelayedCalls()), 1)
        self.asked.hear(b"ONE")
        self.assertNoResult(other)

    def test_stop(self) -> None:
        """
        What is in flight when the port is closed fails.
        """
        answer = self.asked.ask(b"one")
        self.asked.asking.doStop()
        error = self.failureResultOf(answer, AskError).value
        self.assertEqual(str(error), "no longer asking 192.0.2.1:9999")
        self.assertEqual(self.asked.clock.getDelayedCalls(), [])

    def test_quiet(self) -> None:
        """
        It starts and stops without a line in the log.
        """
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        Asked().asking.doStop()
        self.assertEqual(list(events), [])


class MatchingTests(SynchronousTestCase):
    """
    Property tests for how L{RequestProtocol} matches replies with requests.
    """

    # The machine may be busy with something else.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def test_anyOrder(self, data: st.DataObject) -> None:
        """
        Whatever is asked, when every reply comes at least once, in any order,
        then every request gets its own reply, and nothing is wrong.
        """
        texts = data.draw(st.lists(st.binary(max_size=3), max_size=20))
        twice = data.draw(st.lists(st.sampled_from(texts))) if texts else []
        replies = [text.upper() for text in texts + twice]
        asked = Asked()
        answers = [asked.ask(text) for text in texts]
        asked.hear(*data.draw(st.permutations(replies)))
        self.assertEqual(
            [self.successResultOf(answer) for answer in answers],
            [text.upper() for text in texts],
        )
        self.assertEqual(asked.unexpected, [])
        self.assertEqual(asked.clock.getDelayedCalls(), [])

    @given(
        st.lists(st.binary(max_size=3), max_size=10),
        st.lists(st.binary(max_size=3), max_size=20),
    )
    def test_anyReplies(self, texts: list[bytes], replies: list[bytes]) -> None:
        """
        Whatever comes back, every request is settled once in the end, and
        successfully by nothing but its own reply.
        """
        asked = Asked()
        settled: list[bytes] = []
        for text in texts:
            answer = asked.ask(text)
            answer.addCallbacks(
                lambda reply, text: self.assertEqual(reply, text.upper()),
                lambda failure, text: failure.trap(NoAnswer, WrongAnswer),
                callbackArgs=(text,),
                errbackArgs=(text,),
            )
            answer.addCallback(lambda _, text: settled.append(text), text)
        asked.hear(*replies)
        asked.clock.pump([1, 1, 1])
        self.assertEqual(sorted(settled), sorted(texts))
        self.assertEqual(asked.clock.getDelayedCalls(), [])


class ShowTests(SynchronousTestCase):
    """
    Tests for L{show}.
    """

    def test_short(self) -> None:
        """
        A short datagram is shown whole, without control characters.
        """
        self.assertEqual(quoteDatagram(b"a\n\x1b[2J\xff"), r"'a\n\x1b[2J\xff'")

    def test_long(self) -> None:
        """
        A long datagram is cut, and its length is shown.
        """
        self.assertEqual(quoteDatagram(b"a" * 61), f"'{'a' * 50}'... (61 bytes)")
