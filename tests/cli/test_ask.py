"""
Tests for L{shout.cli.ask}.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from shout.cli.ask import LineSession
from shout.request import NoAnswer, Refused, TooLong, WrongAnswer


class FakeClient:
    """
    Keeps what is asked until a test answers it.
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
        Answer the oldest request for a datagram, in capitals or with an error.
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
    Knows whether it may be read.
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
    Keeps what is written, and is done as soon as it is finished.
    """

    def __init__(self, session: LineSession) -> None:
        self.written: list[bytes] = []
        self._conversation = session

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert streaming
        verifyObject(IPushProducer, producer)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def finish(self) -> None:
        self._conversation.outputEnded(Failure(ConnectionDone()))


class Talk:
    """
    A conversation with everything around it faked.
    """

    def __init__(
        self,
        text: bytes | None = None,
        maxInFlight: int = 4,
        showsWrongReplies: bool = False,
    ) -> None:
        self.complaints: list[str] = []
        self.session = LineSession(
            self.complaints.append, "hint", maxInFlight, showsWrongReplies
        )
        self.client = FakeClient()
        self.input = FakeInput()
        self.output = FakeOutput(self.session)
        client: Any = self.client
        output: Any = self.output
        if text is not None:
            self.session.say(client, output, text)
        else:
            self.session.read(client, output, self.input)

    def type(self, chunk: bytes) -> None:
        """
        Take bytes from standard input, which must be expected.
        """
        assert self.input.isReading, "not reading"
        self.session.inputReceived(chunk)

    def end(self, error: Exception | None = None) -> None:
        """
        Take the end of standard input.
        """
        assert self.input.isReading, "not reading"
        self.session.inputEnded(Failure(error or ConnectionDone()))


class SayTests(SynchronousTestCase):
    """
    Tests for L{LineSession.say}.
    """

    def test_answer(self) -> None:
        """
        The reply is printed with a line end, and the status is 0.
        """
        talk = Talk(b"hello\nworld\r\n")
        self.assertNoResult(talk.session.done)
        talk.client.settle(b"hello\nworld\r\n")
        self.assertEqual(self.successResultOf(talk.session.done), 0)
        self.assertEqual(talk.output.written, [b"HELLO\nWORLD\r\n\n"])
        self.assertEqual(talk.complaints, [])

    def test_errors(self) -> None:
        """
        What went wrong is told without a line number, and the status is 1.
        """
        for error in (NoAnswer("none"), WrongAnswer("wrong", b""), TooLong("long")):
            talk = Talk(b"hello")
            talk.client.settle(b"hello", error)
            self.assertEqual(self.successResultOf(talk.session.done), 1)
            self.assertEqual(talk.complaints, [str(error)])
            self.assertEqual(talk.output.written, [])

    def test_refused(self) -> None:
        """
        A refusal is told with a hint of what to do.
        """
        talk = Talk(b"hello")
        talk.client.settle(b"hello", Refused("refused"))
        self.assertEqual(self.successResultOf(talk.session.done), 1)
        self.assertEqual(talk.complaints, ["refused (hint)"])

    def test_tooLong(self) -> None:
        """
        A text that fits in no datagram is not sent.
        """
        talk = Talk(b"x" * 65508)
        self.assertEqual(self.successResultOf(talk.session.done), 1)
        self.assertEqual(
            talk.complaints,
            ["65508 bytes do not fit in a datagram; at most 65507 do"],
        )
        self.assertEqual(talk.client.asked, [])

    def test_bug(self) -> None:
        """
        An error that is nobody's to expect ends the conversation with it.
        """
        talk = Talk(b"hello")
        talk.client.settle(b"hello", ZeroDivisionError())
        self.failureResultOf(talk.session.done, ZeroDivisionError)


class ReadTests(SynchronousTestCase):
    """
    Tests for L{LineSession.read}.
    """

    def setUp(self) -> None:
        self.talk = Talk()
        self.done = self.talk.session.done

    def test_asItComes(self) -> None:
        """
        A line is sent as soon as it is typed, and its reply is printed as soon
        as it comes, before others that were sent earlier.
        """
        self.talk.type(b"one\ntw")
        self.assertEqual(self.talk.client.asked, [b"one"])
        self.talk.type(b"o\n")
        self.assertEqual(self.talk.client.asked, [b"one", b"two"])
        self.talk.client.settle(b"two")
        self.assertEqual(self.talk.output.written, [b"TWO\n"])
        self.talk.client.settle(b"one")
        self.assertEqual(self.talk.output.written, [b"TWO\n", b"ONE\n"])
        self.assertNoResult(self.done)

    def test_end(self) -> None:
        """
        After the end of the input it waits for what is outstanding, the last
        line among it though it has no end.
        """
        self.talk.type(b"one\ntwo")
        self.talk.end()
        self.assertEqual(self.talk.client.asked, [b"one", b"two"])
        self.talk.client.settle(b"one")
        self.assertNoResult(self.done)
        self.talk.client.settle(b"two")
        self.assertEqual(self.successResultOf(self.done), 0)

    def test_nothing(self) -> None:
        """
        No input at all is answered correctly.
        """
        self.talk.end()
        self.assertEqual(self.successResultOf(self.done), 0)
        self.assertEqual(self.talk.client.asked, [])

    def test_window(self) -> None:
        """
        A bounded number of lines is in flight, and no more input is read while
        others wait.
        """
        self.talk.type(b"1\n2\n3\n4\n5\n6\n")
        self.assertEqual(self.talk.client.asked, [b"1", b"2", b"3", b"4"])
        self.assertFalse(self.talk.input.isReading)
        self.talk.client.settle(b"3")
        self.assertEqual(self.talk.client.asked[4:], [b"5"])
        self.assertFalse(self.talk.input.isReading)
        self.talk.client.settle(b"1")
        self.assertEqual(self.talk.client.asked[5:], [b"6"])
        self.assertTrue(self.talk.input.isReading)

    def test_bytesInFlight(self) -> None:
        """
        A long line is sent only when the server has room for it, and the
        longest one alone.
        """
        longest = b"x" * 65507
        self.talk.type(b"short\n" + longest + b"\nshort\n")
        self.assertEqual(self.talk.client.asked, [b"short"])
        self.talk.client.settle(b"short")
        self.assertEqual(self.talk.client.asked[1:], [longest])
        self.talk.client.settle(longest)
        self.assertEqual(self.talk.client.asked[2:], [b"short"])

    def test_slowOutput(self) -> None:
        """
        While the output takes no more, nothing is sent and nothing is read.
        """
        self.talk.type(b"1\n2\n3\n4\n5\n")
        self.talk.session.pauseProducing()
        for number in b"1", b"2", b"3", b"4":
            self.talk.client.settle(number)
        self.assertEqual(len(self.talk.client.asked), 4)
        self.assertFalse(self.talk.input.isReading)
        self.talk.session.resumeProducing()
        self.assertEqual(self.talk.client.asked[4:], [b"5"])
        self.assertTrue(self.talk.input.isReading)

    def test_tooLong(self) -> None:
        """
        A line that fits in no datagram is told with its number, and the others
        are sent.
        """
        self.talk.type(b"one\n" + b"x" * 70000 + b"\nthree\n")
        self.talk.client.settle(b"one")
        self.talk.end()
        self.assertEqual(self.talk.client.asked, [b"one", b"three"])
        self.talk.client.settle(b"three")
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.talk.complaints,
            ["line 2: 70000 bytes do not fit in a datagram; at most 65507 do"],
        )

    def test_unanswered(self) -> None:
        """
        Lines that are not answered are told with their numbers, and the others
        go on.
        """
        self.talk.type(b"one\ntwo\n")
        self.talk.client.settle(b"two", NoAnswer("none"))
        self.talk.type(b"three")
        self.talk.end()
        self.talk.client.settle(b"one")
        self.talk.client.settle(b"three", WrongAnswer("wrong", b""))
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(self.talk.complaints, ["line 2: none", "line 3: wrong"])
        self.assertEqual(self.talk.output.written, [b"ONE\n"])

    def test_refused(self) -> None:
        """
        A refusal is told once, and ends the conversation at once.
        """
        self.talk.type(b"1\n2\n3\n4\n5\n")
        for number in b"1", b"2", b"3", b"4":
            self.talk.client.settle(number, Refused("refused"))
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(self.talk.complaints, ["refused (hint)"])
        self.assertEqual(len(self.talk.client.asked), 4)
        self.assertFalse(self.talk.input.isReading)

    def test_fixedPoints(self) -> None:
        """
        The first time that no answer comes to a line that is its own answer,
        the user is told why that can be.
        """
        talk = Talk()
        talk.session.inputReceived(b"a\nB\nC\n")
        talk.client.settle(b"a", NoAnswer("no answer"))
        self.assertEqual(talk.complaints, ["line 1: no answer"])
        talk.client.settle(b"B", NoAnswer("no answer", True))
        talk.client.settle(b"C", NoAnswer("no answer", True))
        self.assertEqual(len(talk.complaints), 4)
        self.assertIn("nothing to put into capitals", talk.complaints[2])

    def test_givingUp(self) -> None:
        """
        When as many lines as can be in flight were not answered, and none was,
        it gives up.
        """
        self.talk.type(b"1\n2\n3\n4\n5\n6\n7\n8\n")
        for number in b"1", b"2", b"3", b"4":
            self.talk.client.settle(number, NoAnswer("none"))
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.talk.complaints[-1], "giving up: none of 4 lines got a right answer"
        )
        self.assertEqual(len(self.talk.complaints), 5)

    def test_notGivingUp(self) -> None:
        """
        Once a line was answered it never gives up.
        """
        lines = [b"%d" % number for number in range(20)]
        self.talk.type(b"\n".join(lines))
        self.talk.client.settle(lines[0])
        for line in lines[1:-1]:
            self.talk.client.settle(line, NoAnswer("none"))
        self.assertEqual(self.talk.client.asked, lines[:-1])
        self.assertNoResult(self.done)

    def test_failsAtOnce(self) -> None:
        """
        Any number of lines may fail as soon as they are sent.
        """
        self.talk.type(b"answered\n")
        self.talk.client.settle(b"answered")
        self.talk.client.error = NoAnswer("none")
        self.talk.type(b"\n" * 5000)
        self.talk.end()
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(len(self.talk.complaints), 5000)

    def test_stray(self) -> None:
        """
        A reply that comes when no line is in flight is shown, and the status is 1.
        """
        self.talk.session.unexpectedReplyReceived(b"boo", None)
        self.talk.end()
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.talk.complaints, ["peer:9999 sent 'boo' without being asked"]
        )
        self.talk.session.unexpectedReplyReceived(b"boo", None)
        self.assertEqual(len(self.talk.complaints), 1)

    def test_wrongReply(self) -> None:
        """
        On a terminal a wrong reply is shown when it comes; the line is still
        answered, and the status is 0.
        """
        talk = Talk(b"hi", showsWrongReplies=True)
        talk.session.unexpectedReplyReceived(b"hi", b"HI")
        complaint = "peer:9999 answered 'hi' instead of 'HI'"
        self.assertEqual(
            talk.complaints, [f"{complaint}; still waiting for the right reply"]
        )
        talk.client.settle(b"hi")
        self.assertEqual(self.successResultOf(talk.session.done), 0)
        self.assertEqual(talk.output.written, [b"HI\n"])
        talk.session.unexpectedReplyReceived(b"hi", b"HI")
        self.assertEqual(len(talk.complaints), 1)

    def test_wrongReplyToProgram(self) -> None:
        """
        Elsewhere than on a terminal a wrong reply is not shown while the right one
        can still come.
        """
        talk = Talk(b"hi")
        talk.session.unexpectedReplyReceived(b"hi", b"HI")
        talk.client.settle(b"hi")
        self.assertEqual(self.successResultOf(talk.session.done), 0)
        self.assertEqual(talk.complaints, [])

    def test_inputError(self) -> None:
        """
        Input that cannot be read is told, after the lines that could be.
        """
        self.talk.type(b"one\n")
        self.talk.end(OSError(errno.EIO, os.strerror(errno.EIO)))
        self.assertNoResult(self.done)
        self.talk.client.settle(b"one")
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.talk.complaints, ["cannot read standard input: Input/output error"]
        )

    def test_outputError(self) -> None:
        """
        Output that cannot be written is told, and ends the conversation.
        """
        self.talk.type(b"one\n")
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.talk.session.outputEnded(Failure(error))
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(
            self.talk.complaints,
            ["cannot write to standard output: No space left on device"],
        )
        self.assertFalse(self.talk.input.isReading)

    def test_readerGone(self) -> None:
        """
        When nobody reads the output any more, the conversation ends quietly
        with the status of a process that has died of SIGPIPE.
        """
        for error in (ConnectionLost(), BrokenPipeError(errno.EPIPE, "gone")):
            talk = Talk()
            talk.session.outputEnded(Failure(error))
            self.assertEqual(self.successResultOf(talk.session.done), 141)
            self.assertEqual(talk.complaints, [])

    @given(
        st.lists(st.binary(max_size=3).filter(lambda line: b"\n" not in line)),
        st.randoms(use_true_random=False),
    )
    def test_anyLines(self, lines: list[bytes], random: Any) -> None:
        """
        Whatever the lines, and in whatever order they are answered, each has its
        reply printed, and never are more in flight than is allowed.
        """
        talk = Talk()
        talk.type(b"".join(line + b"\r\n" for line in lines))
        while talk.client.answers:
            flying = [line for line, each in talk.client.answers.items() for _ in each]
            self.assertLessEqual(len(flying), 4)
            talk.client.settle(random.choice(flying))
        talk.end()
        self.assertEqual(self.successResultOf(talk.session.done), 0)
        self.assertEqual(
            sorted(talk.output.written), sorted(line.upper() + b"\n" for line in lines)
        )
