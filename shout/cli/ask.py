"""
What goes on between the lines of the user and the server.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable
from errno import EPIPE
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from shout.cli.stdio import Line, LineSplitter, Output
from shout.client import Client
from shout.request import AskError, NoAnswer, Refused, TooLong, quoteDatagram


# A line is sent while there is room for it in flight, else standard input is
# not read.  Room is bounded twice, so that what is in flight fits in half of the
# receive buffer that a Linux server has by default (212,992 bytes): a datagram
# takes up to twice its length there, and 768 bytes.  No line is sent either
# while standard output takes no more.
@implementer(IPushProducer)
class LineSession:
    """
    Ask line by line, and print each reply as it comes.

    @cvar maxLength: how many bytes fit in a UDP datagram over IPv4 (RFC 768,
        RFC 791).

    @cvar maxCost: how many bytes of the server's receive buffer to use.

    @ivar done: fires with the exit status when everything is answered, or given
        up, and printed.
    @type done: L{Deferred} of L{int}
    """

    maxLength = 65507
    maxCost = 212992 // 2

    def __init__(
        self,
        printError: Callable[[str], None],
        hint: str,
        maxInFlight: int,
        showsWrongReplies: bool,
    ) -> None:
        """
        @param complain: tells the user something that is not a reply.

        @param hint: what to do when the server refuses.

        @param maxInFlight: how many lines may wait for their replies at a time.

        @param showsWrongReplies: C{True} if a person should see a wrong reply while
            the right one is awaited.
        """
        self.done: Deferred[int] = Deferred()
        self._printError = printError
        self._hint = hint
        self._maxInFlight = maxInFlight
        self._showsWrongReplies = showsWrongReplies
        self._splitter = LineSplitter(self.maxLength)
        self._client: Client
        self._output: Output
        self._input: IPushProducer | None = None
        self._waiting: deque[Line] = deque()
        self._inFlight = 0
        self._cost = 0
        self._status = 0
        self._answered = 0
        self._failed = 0
        self._isNumbered = False
        self._hasHinted = False
        self._isPaused = False
        self._isProceeding = False
        self._isFinished = False

    def say(self, client: Client, output: Output, text: bytes) -> None:
        """
        Ask once.

        @param client: asks the server.

        @param output: takes the reply.

        @param text: what to ask.
        """
        self._begin(client, output)
        self._waiting.append(Line(1, text, len(text)))
        self._proceed()

    def read(self, client: Client, output: Output, input: IPushProducer) -> None:
        """
        Ask line by line.

        @param client: asks the server.

        @param output: takes the replies.

        @param input: calls L{inputReceived} and L{inputEnded}.
        """
        self._begin(client, output)
        self._input = input
        self._isNumbered = True
        self._proceed()

    def _begin(self, client: Client, output: Output) -> None:
        self._client = client
        self._output = output
        output.registerProducer(self, True)

    def inputReceived(self, chunk: bytes) -> None:
        """
        Take bytes from the user.
        """
        self._accept(self._splitter.feed(chunk))

    def inputEnded(self, reason: Failure) -> None:
        """
        Take the end of what the user says.
        """
        if isinstance(reason.value, OSError):
            self._error(f"cannot read standard input: {reason.value.strerror}")
        self._input = None
        self._accept(self._splitter.finish())

    def _accept(self, lines: Iterable[Line]) -> None:
        self._waiting.extend(lines)
        self._proceed()

    def _proceed(self) -> None:
        # What fails at once would come back here for every line.
        if self._isProceeding:
            return
        self._isProceeding = True
        while self._waiting and self._hasRoom(self._waiting[0]):
            self._send(self._waiting.popleft())
        self._isProceeding = False
        if self._input is not None:
            if self._waiting or self._isPaused or self._isFinished:
                self._input.pauseProducing()
            else:
                self._input.resumeProducing()
        elif not (self._waiting or self._inFlight):
            self._finish()

    def _hasRoom(self, line: Line) -> bool:
        if self._isPaused or self._inFlight >= self._maxInFlight:
            return False
        return not self._inFlight or self._cost + _cost(line) <= self.maxCost

    def _send(self, line: Line) -> None:
        if line.length > self.maxLength:
            message = f"{line.length} bytes do not fit in a datagram"
            message += f"; at most {self.maxLength} do"
            self._error(message, line)
            return
        self._inFlight += 1
        self._cost += _cost(line)
        answer = Deferred.fromCoroutine(self._client.ask(line.text))
        answer.addCallback(self._print)
        answer.addErrback(self._unanswered, line)
        answer.addCallback(self._release, line)
        answer.addErrback(self.done.errback)

    def _print(self, reply: bytes) -> None:
        self._answered += 1
        self._output.write(reply + b"\n")

    def _unanswered(self, failure: Failure, line: Line) -> None:
        error = failure.value
        if not isinstance(error, AskError):
            failure.raiseException()
        if self._isFinished:
            return
        if isinstance(error, Refused):
            self._error(f"{error} ({self._hint})")
            self._finish()
            return
        self._error(str(error), line)
        if isinstance(error, NoAnswer) and error.isFixedPoint and not self._hasHinted:
            self._hasHinted = True
            self._printError(
                "a line with nothing to put into capitals is its own answer, "
                "and servers answer only so many of those at once, lest loops go on"
            )
        self._failed += not isinstance(error, TooLong)
        if self._failed >= self._maxInFlight and not self._answered:
            self._error(f"giving up: none of {self._failed} lines got a right answer")
            self._finish()

    def _release(self, _: object, line: Line) -> None:
        self._inFlight -= 1
        self._cost -= _cost(line)
        self._proceed()

    def _error(self, message: str, line: Line | None = None) -> None:
        self._status = 1
        if line is not None and self._isNumbered:
            message = f"line {line.number}: {message}"
        self._printError(message)

    def unexpectedReplyReceived(self, reply: bytes, expected: bytes | None) -> None:
        """
        Called with the first wrong reply to a line, and with each reply that comes
        when no line is in flight.

        @param expected: the right reply; L{None} when no line is in flight.
        """
        if self._isFinished:
            return
        if expected is None:
            self._error(
                f"{self._client.peer} sent {quoteDatagram(reply)} without being asked"
            )
        elif self._showsWrongReplies:
            self._printError(
                f"{self._client.peer} answered {quoteDatagram(reply)} instead of "
                f"{quoteDatagram(expected)}; still waiting for the right reply"
            )

    def pauseProducing(self) -> None:
        """
        Stop asking until the user has read what was answered.
        """
        self._isPaused = True

    def resumeProducing(self) -> None:
        """
        Go on asking.
        """
        self._isPaused = False
        self._proceed()

    def stopProducing(self) -> None:
        """
        Do nothing: L{outputEnded} is called too.
        """

    def _finish(self) -> None:
        if self._isFinished:
            return
        self._isFinished = True
        self._waiting.clear()
        self._output.finish()

    def outputEnded(self, reason: Failure) -> None:
        """
        End, now that all is printed or nothing can be printed any more.
        """
        if self.done.called:
            return
        error: Any = reason.value
        if isinstance(error, ConnectionLost) or getattr(error, "errno", 0) == EPIPE:
            # The reader had enough, as in "shout < lines | head -1".
            self._status = 128 + signal.SIGPIPE
        elif not isinstance(error, ConnectionDone):
            self._error(f"cannot write to standard output: {error.strerror}")
        self._isFinished = True
        self._waiting.clear()
        if self._input is not None:
            self._input.pauseProducing()
        self.done.callback(self._status)


def _cost(line: Line) -> int:
    return 768 + 2 * line.length
