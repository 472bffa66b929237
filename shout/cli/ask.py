"""
Lines sent to a server, and its replies printed.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections import deque
from collections.abc import Callable
from shlex import quote
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from shout.cli.stdio import Input, Line, LineSplitter, Output
from shout.cli.usage import DEFAULT_PORT
from shout.client import Client, connect
from shout.protocol import Shout, UnicodeShout
from shout.request import (
    AskError,
    NoAnswer,
    Refused,
    TooLong,
    UnknownHost,
    quoteDatagram,
)


async def ask(
    options: Namespace,
    printError: Callable[[str], None],
    reactor: Any,
    stdin: int = 0,
    stdout: int = 1,
) -> int:
    """
    Send a text, or the lines of standard input, and print the replies.

    @param options: The options, as L{shout.cli.options.parse} returns them.

    @param printError: Called with one line for the user.

    @return: The exit status.
    """
    hint = _hint(options)
    # A UNIX socket queues no more than net.unix.max_dgram_qlen, usually 10.
    maxInFlight = 64 if options.unix is None else 8
    session = LineSession(printError, hint, maxInFlight, os.isatty(2))
    try:
        client = await connect(
            options.host,
            options.port,
            unix=options.unix,
            family=options.family,
            timeout=options.timeout,
            retries=options.retries,
            transform=(UnicodeShout() if options.unicode else Shout()).transform,
            onUnexpectedReply=session.unexpectedReplyReceived,
            reactor=reactor,
        )
    except AskError as e:
        printError(f"{e} ({hint})" if isinstance(e, Refused) else str(e))
        return 2 if isinstance(e, UnknownHost) else 1
    output = Output(stdout, session.outputEnded, printError, reactor)
    if options.text is not None:
        session.askOnce(client, output, options.text)
    else:
        if os.isatty(stdin):
            printError(f"lines that you type are sent to {client.peer}; Ctrl-D ends it")
        received, ended = session.inputReceived, session.inputEnded
        session.askLines(client, output, Input(stdin, received, ended, reactor))
    try:
        return await session.done
    finally:
        await client.close()


def _hint(options: Namespace) -> str:
    """
    Return advice for when nothing listens there.
    """
    command = "twistd -n shout"
    if options.unix is not None:
        command += f" --unix {quote(options.unix)}"
    elif options.host not in ("127.0.0.1", "::1", "localhost"):
        return "is a server running there, on this port?"
    elif options.port != DEFAULT_PORT:
        command += f" --port {options.port}"
    return f"start one with: {command}"


# A line is sent as long as the lines in flight leave space for it; until then standard
# input is not read.  Their number is limited, and so is their size, so that they fit in
# half of the receive buffer that a Linux server has by default (212,992 bytes): a
# datagram takes up to twice its length there, and 768 bytes.  Nor is a line sent while
# standard output is full.
@implementer(IPushProducer)
class LineSession:
    """
    Send lines, and print each reply as it arrives.

    @cvar maxLength: The number of bytes that fit in a UDP datagram over IPv4 (RFC
        768, RFC 791).

    @cvar maxCost: The number of bytes to use of the server's receive buffer.

    @ivar done: Fires with the exit status when all lines are answered, or given up,
        and all replies are printed.
    @type done: L{Deferred} of C{int}
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
        @param printError: Called with one line for the user.

        @param hint: The advice to print if the server refuses.

        @param maxInFlight: The number of lines that may wait for their replies at a
            time.

        @param showsWrongReplies: C{True} if a person should see a wrong reply before
            the right one arrives.
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

    def askOnce(self, client: Client, output: Output, text: bytes) -> None:
        """
        Send one text, which may have several lines, as one datagram.
        """
        self._waiting.append(Line(1, text, len(text)))
        self._begin(client, output)

    def askLines(self, client: Client, output: Output, input: IPushProducer) -> None:
        """
        Send line by line.

        @param input: Calls L{inputReceived} and L{inputEnded}.
        """
        self._input = input
        self._isNumbered = True
        self._begin(client, output)

    def _begin(self, client: Client, output: Output) -> None:
        self._client = client
        self._output = output
        output.registerProducer(self, True)
        self._proceed()

    def inputReceived(self, chunk: bytes) -> None:
        """
        Called with each chunk of standard input.
        """
        self._waiting.extend(self._splitter.feed(chunk))
        self._proceed()

    def inputEnded(self, reason: Failure) -> None:
        """
        Called at the end of standard input.
        """
        if isinstance(reason.value, OSError):
            self._error(f"cannot read standard input: {reason.value.strerror}")
        self._input = None
        self._waiting.extend(self._splitter.finish())
        self._proceed()

    def _proceed(self) -> None:
        # A line that fails at once calls this again.
        if self._isProceeding:
            return
        self._isProceeding = True
        while self._waiting and self._canSend(self._waiting[0]):
            self._send(self._waiting.popleft())
        self._isProceeding = False
        if self._input is not None:
            if self._waiting or self._isPaused or self._isFinished:
                self._input.pauseProducing()
            else:
                self._input.resumeProducing()
        elif not (self._waiting or self._inFlight):
            self._finish()

    def _canSend(self, line: Line) -> bool:
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
                "lines without lower-case letters are rate-limited by the server "
                "(loop protection)"
            )
        self._failed += not isinstance(error, TooLong)
        if self._failed >= self._maxInFlight and not self._answered:
            self._error(f"giving up: none of {self._failed} lines got a right reply")
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
        Called with the first wrong reply to a line, and with each reply that arrives
        when no line is in flight.

        @param expected: The right reply; C{None} when no line is in flight.
        """
        if self._isFinished:
            return
        peer = self._client.peer
        if expected is None:
            self._error(f"unexpected reply from {peer}: {quoteDatagram(reply)}")
        elif self._showsWrongReplies:
            self._printError(
                f"{peer} answered {quoteDatagram(reply)} instead of "
                f"{quoteDatagram(expected)}; still waiting for the right reply"
            )

    def pauseProducing(self) -> None:
        self._isPaused = True

    def resumeProducing(self) -> None:
        self._isPaused = False
        self._proceed()

    def stopProducing(self) -> None:
        """
        Do nothing: L{outputEnded} is called too.
        """

    def _finish(self) -> None:
        if not self._isFinished:
            self._isFinished = True
            self._waiting.clear()
            self._output.finish()

    def outputEnded(self, status: int) -> None:
        """
        Called when all replies are printed, or no more can be printed.

        @param status: The exit status that this makes; see L{Output}.
        """
        if self.done.called:
            return
        self._isFinished = True
        self._waiting.clear()
        if self._input is not None:
            self._input.pauseProducing()
        self.done.callback(status or self._status)


def _cost(line: Line) -> int:
    return 768 + 2 * line.length
