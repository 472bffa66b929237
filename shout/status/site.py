"""
A web site for an untrusted network: it accepts GET and HEAD alone, has a bounded number
of connections, and logs problems at a bounded rate.
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

# RFC 9112, 3.  Versions of Twisted differ in the lines that they accept.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]")

_BAD_REQUEST = b"400 Bad Request"
_NOT_ALLOWED = b"405 Method Not Allowed\r\nAllow: GET, HEAD"
_TOO_LARGE = b"431 Request Header Fields Too Large"

# RFC 9112, 5.  A line that continues the one before it is refused (5.2).
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")

# Bytes of a line from the network to log.
_EXCERPT = 40


# Twisted reads a whole request before it calls the resource, and answers pipelined
# requests at once: 64 KiB hold about 2,000 of them, which take seconds.  So each
# connection has one request, and a line that it must not have is refused on arrival:
# Twisted's code for bodies is never reached.
#
# If a socket is closed while its receive buffer has data, the kernel sends RST, which
# can destroy the response before the client has read it.  So after the response only
# the write side is shut down, and input is ignored until the client closes its side,
# the time is over, or the client has sent too much.
@implementer(IHalfCloseableProtocol)
class OneRequestChannel(HTTPChannel):
    """
    A connection for one GET or HEAD request without a body.

    @cvar maxRequestLine: Maximum length of the first line, in bytes.

    @cvar totalHeadersSize: Maximum length of the request, in bytes.

    @cvar maxHeaders: Maximum number of header lines.

    @cvar maxReceived: Number of received bytes, also after the request, above which the
        connection is aborted.

    @ivar isAnswered: C{True} if the kernel has accepted the whole response.
    """

    factory: HardenedSite
    transport: Any

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
        C{True} if the request is complete and the response is not.
        """
        # Twisted sets no time limit until the response is complete.
        return self.timeOut is None and bool(self.requests)

    @property
    def _ignoresInput(self) -> bool:
        return self._isOver or self.isAnswering

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.factory.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.remove(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        room = max(0, self.totalHeadersSize - self._received)
        self._received += len(data)
        if not self._ignoresInput:
            super().dataReceived(data[:room])  # type: ignore[no-untyped-call]
            if self._received > self.totalHeadersSize and not self._ignoresInput:
                self._refuse(_TOO_LARGE, "header too large")
        if self._received > self.maxReceived:
            self.closeNow()

    def rawDataReceived(self, data: bytes) -> None:
        # This is input after the request, which is ignored.
        pass

    def lineReceived(self, line: bytes) -> None:
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
            # Twisted takes milliseconds for a path or a query of many parts.
            self._refuse(b"414 URI Too Long", "header too large", line)
            return
        match = _REQUEST_LINE.fullmatch(line)
        # Only OPTIONS may have the target * (RFC 9112, 3.2.4).
        if match is None or (match[1] != b"OPTIONS" and match[2] == b"*"):
            self._refuse(_BAD_REQUEST, "not HTTP", line)
        elif match[1] not in (b"GET", b"HEAD"):
            self._refuse(_NOT_ALLOWED, "method not allowed", line)

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"transfer-encoding" or (
            name == b"content-length" and value.isdigit() and value.strip(b"0")
        ):
            self._refuse(b"413 Content Too Large", "request body", line)
            return False
        # Without a body, no "100 Continue" has to be sent.
        if name == b"expect" or (name == b"content-length" and value.isdigit()):
            return True
        return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        self._refuse(_BAD_REQUEST, "not HTTP")

    def _refuse(self, status: bytes, problem: str, line: bytes = b"") -> None:
        self.factory.logProblem(problem, self.transport.getPeer(), line)
        date = datetimeToString(self.factory.reactor.seconds())
        response = b"HTTP/1.1 " + status + b"\r\nDate: " + date + b"\r\n"
        response += b"Connection: close\r\nContent-Length: 0\r\n\r\n"
        self.write(response)  # type: ignore[no-untyped-call]
        self.loseConnection()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def loseConnection(self) -> None:
        """
        Called when the response is complete.  The client has as much time to receive it
        as it had for the request.
        """
        self._isOver = True
        self.setTimeout(self.factory.timeOut)  # type: ignore[no-untyped-call]
        if INegotiated.providedBy(self.transport):
            # TLS has no half-closed connections.
            super().loseConnection()  # type: ignore[no-untyped-call]
        else:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """
        Called when the kernel has accepted the whole response.
        """
        self.isAnswered = True
        if self._isReadClosed:
            self.closeNow()

    def readConnectionLost(self) -> None:
        """
        Called when the client has shut down its write side.
        """
        self._isReadClosed = True
        if not self._ignoresInput and self._received:
            self._refuse(_BAD_REQUEST, "not HTTP")
        elif self.isAnswered or not self._ignoresInput:
            self.closeNow()

    def resetTimeout(self) -> None:
        # The time limit is for the whole request, and not for each byte of it.
        pass

    def timeoutConnection(self) -> None:
        if not self._isOver and self._received:
            self._refuse(b"408 Request Timeout", "request timed out")
            return
        if self._isOver and not self.isAnswered:
            self.factory.logProblem("response not read", self.transport.getPeer())
        self.closeNow()

    def closeNow(self) -> None:
        """
        Close the connection now.
        """
        if self.isAnswered:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()


class HardenedSite(Site):
    """
    A site for a few clients, over HTTP/1.1.

    @cvar maxConnections: Maximum number of connections.  A new one replaces the oldest
        that is answered, or else the oldest whose request is incomplete; if there is
        none, the new one is refused.

    @cvar spareDescriptors: Number of file descriptors to leave for other uses.  While
        there are fewer, a new connection replaces another in the same way.

    @ivar connections: The connections, the oldest first.
    """

    _log = Logger()

    noisy = False
    protocol = OneRequestChannel  # type: ignore[assignment]

    maxConnections = 100
    spareDescriptors = 24

    def __init__(self, resource: IResource, reactor: Any, timeout: float = 10) -> None:
        """
        @param resource: The resource of all pages.

        @param reactor: An L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param timeout: Seconds for a request to arrive, and for its response to be
            received; then the connection is closed.
        """
        super().__init__(resource, timeout=timeout, reactor=reactor)  # type: ignore[no-untyped-call]
        self.connections: dict[OneRequestChannel, None] = {}
        # The numbers of open connections, and of other descriptors.
        self._open = self._others = 0
        self._problems: dict[str, RateLimitedLog] = defaultdict(
            lambda: RateLimitedLog(self._warn, reactor)
        )
        self._failures = RateLimitedLog(self._critical, reactor)

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.connections) >= self.maxConnections and not self._evict(addr):
            return None
        return super().buildProtocol(addr)  # type: ignore[no-untyped-call]

    def add(self, channel: OneRequestChannel) -> None:
        """
        Called when a connection is open.
        """
        self.connections[channel] = None
        self._open += 1
        # A new descriptor has the lowest free number, so all lower ones are in use, by
        # this site or for other purposes.
        transport = channel.transport
        self._others = max(self._others, transport.fileno() + 1 - self._open)
        # -1 if unlimited.
        limit = os.sysconf("SC_OPEN_MAX")
        isShort = 0 < limit < self._others + self._open + self.spareDescriptors
        if isShort and len(self.connections) > 1:
            problem = f"few of {limit} file descriptors left (ulimit -n)"
            self._evict(transport.getPeer(), problem)
        elif len(self.connections) > self.maxConnections:
            self._evict(transport.getPeer())

    def remove(self, channel: OneRequestChannel) -> None:
        """
        Called when a connection is closed.
        """
        self.connections.pop(channel, None)
        self._open -= 1

    def _evict(self, peer: Any, problem: str = "too many connections") -> bool:
        idle = (each for each in self.connections if not each.isAnswering)
        evicted = min(idle, key=lambda each: not each.isAnswered, default=None)
        if evicted is None or not evicted.isAnswered:
            self.logProblem(problem, peer)
        if evicted is None:
            return False
        del self.connections[evicted]
        evicted.closeNow()
        return True

    def logProblem(self, problem: str, peer: Any, line: bytes = b"") -> None:
        """
        Log a problem with a connection.

        @param problem: The problem in a few words, one of a small, fixed set.

        @param peer: The address of the client.

        @param line: The offending line of the request.
        """
        host = getattr(peer, "host", "a UNIX socket")
        excerpt = f": {line[:_EXCERPT]!r}" if line else ""
        self._problems[problem].add(f"HTTP from {host}: {problem}{excerpt}")

    def logFailure(self, failure: Failure) -> None:
        """
        Log an exception that was raised while a request was answered.
        """
        self._failures.add("error while answering an HTTP request", failure)

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def _critical(self, text: str, failure: Failure) -> None:
        self._log.failure("{text}", failure, text=text)

    def acceptableProtocols(self) -> list[bytes]:
        # Over TLS, HTTP/2 is never offered.
        return [b"http/1.1"]

    def startFactory(self) -> None:
        # There is no log file of requests to open.
        pass

    def stopFactory(self) -> None:
        for each in (*self._problems.values(), self._failures):
            each.flush()

    def log(self, request: object) -> None:
        # Requests are not logged.
        pass
