"""
Tests for L{shout.cli.ask.LineSession}.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from shout.cli.ask import LineSession
from shout.request import NoAnswer, Refused, TooLong, WrongAnswer
from tests.properties import untimed


class FakeClient:
    """
    A L{Client<shout.client.Client>} that keeps requests until a test answers them.

    @ivar asked: The datagrams sent.

    @ivar error: The error that all further requests fail with, if any.
    """

    peer = "peer:9999"

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answers: dict[bytes, list[Deferred[bytes]]] = {}
        self.error: Exception | None = None

    async def ask(self, datagram: bytes) -> bytes:
        self.asked.append(datagram)
        if self.error is not None:
            raise self.error
        answer: Deferred[bytes] = Deferred()
        self.answers.setdefault(datagram, []).append(answer)
        return await answer

    def settle(self, datagram: bytes, result: Any = None) -> None:
        """
        Answer the oldest request for a datagram, rightly or with an error.
        """
        answers = self.answers[datagram]
        answer = answers.pop(0)
        if not answers:
            del self.answers[datagram]
        if isinstance(result, Exception):
            answer.errback(result)
        else:
            answer.callback(datagram.upper())


@implementer(IPushProducer)
class FakeInput:
    """
    An L{Input<shout.cli.stdio.Input>} that is only paused and resumed.
    """

    def __init__(self) -> None:
        self.isReading = False

    def resumeProducing(self) -> None:
        self.isReading = True

    def pauseProducing(self) -> None:
        self.isReading = False

    def stopProducing(self) -> None:
        self.isReading = False


class FakeOutput:
    """
    An L{Output<shout.cli.stdio.Output>} that keeps what is written, and ends when
    it is finished.
    """

    def __init__(self, session: LineSession) -> None:
        self.written: list[bytes] = []
        self._session = session

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert streaming
        verifyObject(IPushProducer, producer)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def finish(self) -> None:
        self._session.outputEnded(0)


class FakeSession:
    """
    A L{LineSession} with a fake client, input and output.

    @ivar errors: The lines printed to standard error.
    """

    def __init__(
        self,
        text: bytes | None = None,
        maxInFlight: int = 4,
        showsWrongReplies: bool = False,
    ) -> None:
        self.errors: list[str] = []
        self.session = LineSession(
            self.errors.append, "hint", maxInFlight, showsWrongReplies
        )
        self.client = FakeClient()
        self.input = FakeInput()
        self.output = FakeOutput(self.session)
        client: Any = self.client
        output: Any = self.output
        if text is not None:
            self.session.askOnce(client, output, text)
        else:
            self.session.askLines(client, output, self.input)

    def type(self, chunk: bytes) -> None:
        """
        Receive bytes from standard input, which must not be paused.
        """
        assert self.input.isReading, "not reading"
        self.session.inputReceived(chunk)

    def end(self, error: Exception | None = None) -> None:
        """
        Receive the end of standard input.
        """
        assert self.input.isReading, "not reading"
        self.session.inputEnded(Failure(error or ConnectionDone()))


class AskOnceTests(SynchronousTestCase):
    """
    Tests for L{LineSession.askOnce}.
    """

    def test_answer(self) -> None:
        """
        The reply is printed with a line end, and the status is 0.
        """
        fake = FakeSession(b"hello\nworld\r\n")
        self.assertNoResult(fake.session.done)
        fake.client.settle(b"hello\nworld\r\n")
        self.assertEqual(self.successResultOf(fake.session.done), 0)
        self.assertEqual(fake.output.written, [b"HELLO\nWORLD\r\n\n"])
        self.assertEqual(fake.errors, [])

    def test_errors(self) -> None:
        """
        An error is printed without a line number, and the status is 1.
        """
        for error in (NoAnswer("none"), WrongAnswer("wrong", b""), TooLong("long")):
            fake = FakeSession(b"hello")
            fake.client.settle(b"hello", error)
            self.assertEqual(self.successResultOf(fake.session.done), 1)
            self.assertEqual(fake.errors, [str(error)])
            self.assertEqual(fake.output.written, [])

    def test_refused(self) -> None:
        """
        If the server refuses, the error ends with the hint.
        """
        fake = FakeSession(b"hello")
        fake.client.settle(b"hello", Refused("refused"))
        self.assertEqual(self.successResultOf(fake.session.done), 1)
        self.assertEqual(fake.errors, ["refused (hint)"])

    def test_tooLong(self) -> None:
        """
        A text that does not fit in a datagram is not sent.
        """
        fake = FakeSession(b"x" * 65508)
        self.assertEqual(self.successResultOf(fake.session.done), 1)
        self.assertEqual(
            fake.errors,
            ["65508 bytes do not fit in a datagram; at most 65507 do"],
        )
        self.assertEqual(fake.client.asked, [])

    def test_bug(self) -> None:
        """
        Any other error fails C{done}.
        """
        fake = FakeSession(b"hello")
        fake.client.settle(b"hello", ZeroDivisionError())
        self.failureResultOf(fake.session.done, ZeroDivisionError)


class AskLinesTests(SynchronousTestCase):
    """
    Tests for L{LineSession.askLines}.
    """

    def setUp(self) -> None:
        self.fake = FakeSession()
        self.done = self.fake.session.done

    def test_asItComes(self) -> None:
        """
        A line is sent as soon as it is complete, and its reply is printed as soon as
        it arrives, even if earlier lines have none yet.
        """
        self.fake.type(b"one\ntw")
        self.assertEqual(self.fake.client.asked, [b"one"])
        self.fake.type(b"o\n")
        self.assertEqual(self.fake.client.asked, [b"one", b"two"])
        self.fake.client.settle(b"two")
        self.assertEqual(self.fake.output.written, [b"TWO\n"])
        self.fake.client.settle(b"one")
        self.assertEqual(self.fake.output.written, [b"TWO\n", b"ONE\n"])
        self.assertNoResult(self.done)

    def test_end(self) -> None:
        """
        After the end of the input, the session waits for the replies to all lines,
        also to a last line without an end.
        """
        self.fake.type(b"one\ntwo")
        self.fake.end()
        self.assertEqual(self.fake.client.asked, [b"one", b"two"])
        self.fake.client.settle(b"one")
        self.assertNoResult(self.done)
        self.fake.client.settle(b"two")
        self.assertEqual(self.successResultOf(self.done), 0)

    def test_nothing(self) -> None:
        """
        Without input the status is 0.
        """
        self.fake.end()
        self.assertEqual(self.successResultOf(self.done), 0)
        self.assertEqual(self.fake.client.asked, [])

    def test_window(self) -> None:
        """
        The number of lines in flight is limited, and no input is read while lines
        wait.
        """
        self.fake.type(b"1\n2\n3\n4\n5\n6\n")
        self.assertEqual(self.fake.client.asked, [b"1", b"2", b"3", b"4"])
        self.assertFalse(self.fake.input.isReading)
        self.fake.client.settle(b"3")
        self.assertEqual(self.fake.client.asked[4:], [b"5"])
        self.assertFalse(self.fake.input.isReading)
        self.fake.client.settle(b"1")
        self.assertEqual(self.fake.client.asked[5:], [b"6"])
        self.assertTrue(self.fake.input.isReading)

    def test_bytesInFlight(self) -> None:
        """
        Lines in flight fit in the server's buffer; the longest one is sent alone.
        """
        longest = b"x" * 65507
        self.fake.type(b"short\n" + longest + b"\nshort\n")
        self.assertEqual(self.fake.client.asked, [b"short"])
        self.fake.client.settle(b"short")
        self.assertEqual(self.fake.client.asked[1:], [longest])
        self.fake.client.settle(longest)
        self.assertEqual(self.fake.client.asked[2:], [b"short"])

    def test_slowOutput(self) -> None:
        """
        While the output is full, nothing is sent and nothing is read.
        """
        self.fake.type(b"1\n2\n3\n4\n5\n")
        self.fake.session.pauseProducing()
        for number in b"1", b"2", b"3", b"4":
            self.fake.client.settle(number)
        self.assertEqual(len(self.fake.client.asked), 4)
        self.assertFalse(self.fake.input.isReading)
        self.fake.session.resumeProducing()
        self.assertEqual(self.fake.client.asked[4:], [b"5"])
        self.assertTrue(self.fake.input.isReading)

    def test_tooLong(self) -> None:
        """
        A line that does not fit in a datagram is reported with its number, and the
        others are sent.
        """
        self.fake.type(b"one\n" + b"x" * 70000 + b"\nthree\n")
        self.fake.client.settle(b"one")
        self.fake.end()
        self.assertEqual(self.fake.client.asked, [b"one", b"three"])
        self.fake.client.settle(b"three")
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.fake.errors,
            ["line 2: 70000 bytes do not fit in a datagram; at most 65507 do"],
        )

    def test_unanswered(self) -> None:
        """
        Lines without a reply are reported with their numbers; the others go on.
        """
        self.fake.type(b"one\ntwo\n")
        self.fake.client.settle(b"two", NoAnswer("none"))
        self.fake.type(b"three")
        self.fake.end()
        self.fake.client.settle(b"one")
        self.fake.client.settle(b"three", WrongAnswer("wrong", b""))
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(self.fake.errors, ["line 2: none", "line 3: wrong"])
        self.assertEqual(self.fake.output.written, [b"ONE\n"])

    def test_refused(self) -> None:
        """
        A refusal is reported once, and ends the session.
        """
        self.fake.type(b"1\n2\n3\n4\n5\n")
        for number in b"1", b"2", b"3", b"4":
            self.fake.client.settle(number, Refused("refused"))
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(self.fake.errors, ["refused (hint)"])
        self.assertEqual(len(self.fake.client.asked), 4)
        self.assertFalse(self.fake.input.isReading)

    def test_fixedPoints(self) -> None:
        """
        The first time that a line without lower-case letters gets no reply, a hint
        explains the loop protection.
        """
        fake = FakeSession()
        fake.session.inputReceived(b"a\nB\nC\n")
        fake.client.settle(b"a", NoAnswer("no answer"))
        self.assertEqual(fake.errors, ["line 1: no answer"])
        fake.client.settle(b"B", NoAnswer("no answer", True))
        fake.client.settle(b"C", NoAnswer("no answer", True))
        self.assertEqual(len(fake.errors), 4)
        self.assertIn("without lower-case letters", fake.errors[2])

    def test_givingUp(self) -> None:
        """
        The session gives up if no line got a reply, and as many got none as may be in
        flight.
        """
        self.fake.type(b"1\n2\n3\n4\n5\n6\n7\n8\n")
        for number in b"1", b"2", b"3", b"4":
            self.fake.client.settle(number, NoAnswer("none"))
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.fake.errors[-1], "giving up: none of 4 lines got a right reply"
        )
        self.assertEqual(len(self.fake.errors), 5)

    def test_notGivingUp(self) -> None:
        """
        Once a line got a reply, the session never gives up.
        """
        lines = [b"%d" % number for number in range(20)]
        self.fake.type(b"\n".join(lines))
        self.fake.client.settle(lines[0])
        for line in lines[1:-1]:
            self.fake.client.settle(line, NoAnswer("none"))
        self.assertEqual(self.fake.client.asked, lines[:-1])
        self.assertNoResult(self.done)

    def test_failsAtOnce(self) -> None:
        """
        Any number of lines may fail as soon as they are sent.
        """
        self.fake.type(b"answered\n")
        self.fake.client.settle(b"answered")
        self.fake.client.error = NoAnswer("none")
        self.fake.type(b"\n" * 5000)
        self.fake.end()
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(len(self.fake.errors), 5000)

    def test_unexpected(self) -> None:
        """
        A reply that arrives when no line is in flight is printed, and the status is 1.
        """
        self.fake.session.unexpectedReplyReceived(b"boo", None)
        self.fake.end()
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(self.fake.errors, ["unexpected reply from peer:9999: 'boo'"])
        self.fake.session.unexpectedReplyReceived(b"boo", None)
        self.assertEqual(len(self.fake.errors), 1)

    def test_wrongReply(self) -> None:
        """
        On a terminal a wrong reply is printed when it arrives; the right one may
        follow, and the status is 0.
        """
        fake = FakeSession(b"hi", showsWrongReplies=True)
        fake.session.unexpectedReplyReceived(b"hi", b"HI")
        error = "peer:9999 answered 'hi' instead of 'HI'"
        self.assertEqual(fake.errors, [f"{error}; still waiting for the right reply"])
        fake.client.settle(b"hi")
        self.assertEqual(self.successResultOf(fake.session.done), 0)
        self.assertEqual(fake.output.written, [b"HI\n"])
        fake.session.unexpectedReplyReceived(b"hi", b"HI")
        self.assertEqual(len(fake.errors), 1)

    def test_wrongReplyToProgram(self) -> None:
        """
        Without a terminal a wrong reply is not printed while the right one can still
        arrive.
        """
        fake = FakeSession(b"hi")
        fake.session.unexpectedReplyReceived(b"hi", b"HI")
        fake.client.settle(b"hi")
        self.assertEqual(self.successResultOf(fake.session.done), 0)
        self.assertEqual(fake.errors, [])

    def test_inputError(self) -> None:
        """
        An error of the input is reported, and the lines before it get their replies.
        """
        self.fake.type(b"one\n")
        self.fake.end(OSError(errno.EIO, os.strerror(errno.EIO)))
        self.assertNoResult(self.done)
        self.fake.client.settle(b"one")
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.fake.errors, ["cannot read standard input: Input/output error"]
        )

    def test_outputError(self) -> None:
        """
        If nothing can be printed, the session ends with the status of the output.
        """
        self.fake.type(b"one\n")
        self.fake.session.outputEnded(141)
        self.assertEqual(self.successResultOf(self.done), 141)
        self.assertFalse(self.fake.input.isReading)

    @untimed
    @given(
        st.lists(st.binary(max_size=3).filter(lambda line: b"\n" not in line)),
        st.randoms(use_true_random=False),
    )
    def test_anyLines(self, lines: list[bytes], random: Any) -> None:
        """
        Whatever the lines and the order of their replies, each reply is printed, and
        no more lines are in flight than allowed.
        """
        fake = FakeSession()
        fake.type(b"".join(line + b"\r\n" for line in lines))
        while fake.client.answers:
            flying = [line for line, each in fake.client.answers.items() for _ in each]
            self.assertLessEqual(len(flying), 4)
            fake.client.settle(random.choice(flying))
        fake.end()
        self.assertEqual(self.successResultOf(fake.session.done), 0)
        self.assertEqual(
            sorted(fake.output.written), sorted(line.upper() + b"\n" for line in lines)
        )
