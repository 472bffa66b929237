"""
A small web site for an untrusted network: it answers GET and HEAD, holds a bounded
number of connections, and logs trouble at a bounded rate.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, INegotiated
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from shout.ratelimitedlog import RateLimitedLog

# RFC 9112, 3; versions of Twisted differ in what they let through.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]")

_BAD_REQUEST = b"400 Bad Request"
_NOT_ALLOWED = b"405 Method Not Allowed\r\nAllow: GET, HEAD"
_TOO_LARGE = b"431 Request Header Fields Too Large"

# RFC 9112, 5; a line that continues the one before it is refused (5.2).
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")

# So much of a line from the network is logged, in bytes.
_EXCERPT = 40


# Twisted has the whole of a request before its resource is asked, and answers requests
# that were sent ahead at once: 64 KiB hold some 2,000, which take seconds.  So there is
# one request to a connection, and what it must not have is refused when its line
# arrives: Twisted's code for bodies is not reached.
#
# To close a socket with input that nobody has read makes the kernel send RST, which
# can destroy the answer before the client has read it.  So after an answer only the
# write side is shut down, and input is ignored until the client closes its side, the
# time is up, or it has sent too much.
@implementer(IHalfCloseableProtocol)
class OneRequestChannel(HTTPChannel):
    """
    A connection that takes one GET or HEAD request without a body.

    @cvar maxRequestLine: Length of the longest first line, in bytes.

    @cvar totalHeadersSize: Length of the longest request, in bytes.

    @cvar maxHeaders: Number of header lines in a request, at most.

    @cvar maxReceived: Number of bytes, also after the request, at which the connection
        is aborted.

    @ivar isAnswered: Whether the system has taken the whole answer.
    """

    factory: HardenedSite

    maxRequestLine = 2048
    totalHeadersSize = 16_384
    maxHeaders = 100
    maxReceived = 1_000_000

    isAnswered = False
    _received = 0
    _headerLines = 0
    _isOver = False
    _isReadClosed = False

    @property
    def isAnswering(self) -> bool:
        """
        Whether a request is complete and has not been answered yet.
        """
        # The time limit is off until the answer is complete.
        return self.timeOut is None and bool(self.requests)

    @property
    def _ignoresInput(self) -> bool:
        return self._isOver or self.isAnswering

    def connectionMade(self) -> None:
        """
        Called when the connection is there.
        """
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.factory.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Called when the connection is closed.
        """
        self.factory.remove(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        """
        Called with bytes of the request, and with those after it.
        """
        room = max(0, self.totalHeadersSize - self._received)
        self._received += len(data)
        if not self._ignoresInput:
            super().dataReceived(data[:room])  # type: ignore[no-untyped-call]
            if self._received > self.totalHeadersSize and not self._ignoresInput:
                self._refuse(_TOO_LARGE, "header too large")
        if self._received > self.maxReceived:
            self.cutOff()

    def rawDataReceived(self, data: bytes) -> None:
        """
        Called with bytes after the request, which are ignored.
        """

    def lineReceived(self, line: bytes) -> None:
        """
        Called with a line of the request.
        """
        if self._ignoresInput:
            self.clearLineBuffer()  # type: ignore[no-untyped-call]
            return
        if line and not self.requests:
            self._checkRequestLine(line)
        elif line:
            self._headerLines += 1
            if self._headerLines > self.maxHeaders:
                self._refuse(_TOO_LARGE, "header too large")
            elif not _HEADER.fullmatch(line):
                self._refuse(_BAD_REQUEST, "not HTTP", line)
        if not self._isOver:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def _checkRequestLine(self, line: bytes) -> None:
        if len(line) > self.maxRequestLine:
            # A path and a query of many parts take Twisted milliseconds.
            self._refuse(b"414 URI Too Long", "header too large", line)
            return
        match = _REQUEST_LINE.fullmatch(line)
        # The target * is for OPTIONS alone (RFC 9112, 3.2.4).
        if match is None or (match[1] != b"OPTIONS" and match[2] == b"*"):
            self._refuse(_BAD_REQUEST, "not HTTP", line)
        elif match[1] not in (b"GET", b"HEAD"):
            self._refuse(_NOT_ALLOWED, "method not allowed", line)

    def headerReceived(self, line: bytes) -> bool:
        """
        Called with a whole header.

        @return: Whether the request may go on.
        """
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"transfer-encoding" or (
            name == b"content-length" and value.isdigit() and value.strip(b"0")
        ):
            self._refuse(b"413 Content Too Large", "request body", line)
            return False
        # Without a body there is nothing to be continued.
        if name == b"expect" or (name == b"content-length" and value.isdigit()):
            return True
        return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        self._refuse(_BAD_REQUEST, "not HTTP")

    def _refuse(self, status: bytes, trouble: str, line: bytes = b"") -> None:
        self._report(trouble, line)
        date = datetimeToString(self.factory.reactor.seconds())
        answer = b"HTTP/1.1 " + status + b"\r\nDate: " + date + b"\r\n"
        answer += b"Connection: close\r\nContent-Length: 0\r\n\r\n"
        self.write(answer)  # type: ignore[no-untyped-call]
        self.loseConnection()

    def _report(self, trouble: str, line: bytes = b"") -> None:
        peer: Any = self.getPeer()  # type: ignore[no-untyped-call]
        self.factory.report(trouble, peer, line)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """
        Announce that the connection ends with the answer.
        """
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def loseConnection(self) -> None:
        """
        Called when the answer is complete: send it, and shut down the write side.  The
        client has as much time to take it as it had for the request.
        """
        assert self.transport is not None
        self._isOver = True
        self.setTimeout(self.factory.timeOut)  # type: ignore[no-untyped-call]
        if INegotiated.providedBy(self.transport):
            # TLS cannot be closed by halves.
            super().loseConnection()  # type: ignore[no-untyped-call]
        else:
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self.transport.loseWriteConnection()  # type: ignore[attr-defined]

    def writeConnectionLost(self) -> None:
        """
        Called when the system has taken the whole answer.
        """
        self.isAnswered = True
        if self._isReadClosed:
            self.cutOff()

    def readConnectionLost(self) -> None:
        """
        Called when the client has shut down its write side.
        """
        self._isReadClosed = True
        if not self._ignoresInput and self._received:
            self._refuse(_BAD_REQUEST, "not HTTP")
        elif self.isAnswered or not self._ignoresInput:
            self.cutOff()

    def resetTimeout(self) -> None:
        """
        Give a request no more time for each byte of it that comes.
        """

    def timeoutConnection(self) -> None:
        """
        Called when the time for a request or for its answer is up.
        """
        if not self._isOver and self._received:
            self._refuse(b"408 Request Timeout", "request timed out")
            return
        if self._isOver and not self.isAnswered:
            self._report("answer not read")
        self.cutOff()

    def cutOff(self) -> None:
        """
        Close the connection now.
        """
        assert self.transport is not None
        if self.isAnswered:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()  # type: ignore[attr-defined]


class HardenedSite(Site):
    """
    A site for a few clients, over HTTP/1.1.

    @ivar maxConnections: Number of connections at most.  A further one takes the place
        of the oldest that is answered, or else of the oldest on which no request is
        being answered; if there is none, the further one is refused.

    @cvar spareDescriptors: Number of file descriptors to leave for other uses.  While
        there are fewer, a further connection takes the place of another, too.

    @ivar connections: All connections, the oldest first.
    @type connections: L{dict} of L{OneRequestChannel} to L{None}
    """

    _log = Logger()

    noisy = False
    protocol = OneRequestChannel  # type: ignore[assignment]

    maxConnections = 100
    spareDescriptors = 24

    def __init__(self, resource: IResource, reactor: Any, timeout: float = 10) -> None:
        """
        @param resource: Answers the requests.

        @param reactor: An L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param timeout: Seconds for a request to arrive, and again for its answer to be
            taken; then the connection is closed.
        """
        super().__init__(resource, timeout=timeout, reactor=reactor)  # type: ignore[no-untyped-call]
        self.connections: dict[OneRequestChannel, None] = {}
        # Connections that are not closed yet, and descriptors that are none.
        self._open = self._others = 0
        self._troubles: dict[str, RateLimitedLog] = defaultdict(
            lambda: RateLimitedLog(self._warn, reactor)
        )
        self._failures = RateLimitedLog(self._logFailure, reactor)

    def buildProtocol(self, addr: Any) -> Any:
        """
        Take a connection, if there is room or can be made.
        """
        if len(self.connections) >= self.maxConnections and not self._endOne(addr):
            return None
        return super().buildProtocol(addr)  # type: ignore[no-untyped-call]

    def add(self, channel: OneRequestChannel) -> None:
        """
        Called by a channel when its connection is there.
        """
        self.connections[channel] = None
        self._open += 1
        # A descriptor has the lowest free number, so all below it are in use, and those
        # that are not connections of this site belong to others.
        transport: Any = channel.transport
        self._others = max(self._others, transport.fileno() + 1 - self._open)
        # -1 if unlimited.
        limit = os.sysconf("SC_OPEN_MAX")
        isShort = 0 < limit < self._others + self._open + self.spareDescriptors
        if isShort and len(self.connections) > 1:
            trouble = f"few of {limit} files left (ulimit -n)"
            self._endOne(transport.getPeer(), trouble)
        elif len(self.connections) > self.maxConnections:
            self._endOne(transport.getPeer())

    def remove(self, channel: OneRequestChannel) -> None:
        """
        Called by a channel when its connection is closed.
        """
        self.connections.pop(channel, None)
        self._open -= 1

    def _endOne(self, peer: Any, trouble: str = "too many connections") -> bool:
        idle = (each for each in self.connections if not each.isAnswering)
        ended = min(idle, key=lambda each: not each.isAnswered, default=None)
        if ended is None or not ended.isAnswered:
            self.report(trouble, peer)
        if ended is None:
            return False
        del self.connections[ended]
        ended.cutOff()
        return True

    def report(self, trouble: str, peer: Any, line: bytes = b"") -> None:
        """
        Log what is wrong with a connection.

        @param trouble: What is wrong, in a few words; one of a small, fixed set.

        @param peer: Address of the client.

        @param line: What the client has sent.
        """
        host = getattr(peer, "host", "a UNIX socket")
        excerpt = f": {line[:_EXCERPT]!r}" if line else ""
        self._troubles[trouble].add(f"HTTP from {host}: {trouble}{excerpt}")

    def failed(self, failure: Failure) -> None:
        """
        Log an exception that was raised while a request was answered.
        """
        self._failures.add("error while answering an HTTP request", failure)

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def _logFailure(self, text: str, failure: Failure) -> None:
        self._log.failure("{text}", failure, text=text)

    def acceptableProtocols(self) -> list[bytes]:
        """
        Return the protocols to choose from over TLS: never HTTP/2.
        """
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """
        Open no log of requests.
        """

    def stopFactory(self) -> None:
        """
        Log the trouble that was only counted.
        """
        for each in (*self._troubles.values(), self._failures):
            each.flush()

    def log(self, request: object) -> None:
        """
        Do not log a request.
        """
