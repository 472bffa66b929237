"""
A small web site that is left alone with the network: it answers short requests,
to a bounded number of connections, and logs none of them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n"


class ShortRequest(Request):
    """
    A request whose body must be short, if it has one.

    @cvar maxLength: the length of the longest body, in bytes.
    """

    maxLength = 10_000

    _isTooLarge = False

    def gotLength(self, length: int | None) -> None:
        """
        Refuse a long body before it comes.

        @param length: in bytes; L{None} when the request does not say.
        """
        self._isTooLarge = length is None or length > self.maxLength
        super().gotLength(0 if self._isTooLarge else length)  # type: ignore[no-untyped-call]
        if self._isTooLarge:
            self.channel.write(_TOO_LARGE)
            self.channel.loseConnection()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Keep a part of the body.
        """
        if not self._isTooLarge:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def process(self) -> None:
        """
        Answer, unless that has been done.
        """
        if not self._isTooLarge:
            super().process()  # type: ignore[no-untyped-call]


# What has been sent ahead on a connection is there all at once, and Twisted answers
# all of it before anybody else has a turn: 64 KiB hold some 2,000 requests, which
# take seconds.  So there is one request to a connection.
class QuietChannel(HTTPChannel):
    """
    A connection that its site knows of, that ends with its first answer, and that
    ends without a line in the log when no request comes.
    """

    factory: QuietSite

    @property
    def isAnswering(self) -> bool:
        """
        Whether a request has come and has not been answered yet.
        """
        # For so long there is no time limit.
        return self.timeOut is None and bool(self.requests)

    def connectionMade(self) -> None:
        """
        Count the connection.
        """
        self.factory.connections[self] = None
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Count the connection no longer.
        """
        self.factory.connections.pop(self, None)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """
        Say that the connection ends with the answer.
        """
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def loseConnection(self) -> None:
        """
        End the connection when the answer has been taken, for which there is as
        much time as for the request.
        """
        self.setTimeout(self.factory.timeOut)  # type: ignore[no-untyped-call]
        super().loseConnection()  # type: ignore[no-untyped-call]

    def resetTimeout(self) -> None:
        """
        Do not give a request more time for each byte of it that comes.
        """

    def timeoutConnection(self) -> None:
        """
        End the connection.
        """
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]


class QuietSite(Site):
    """
    A site for a few, over HTTP/1.1, that answers one request to a connection.

    @cvar maxConnections: how many connections there are at most.  For one more
        the oldest is ended on which no request is being answered; where there is
        no such, the new one is.

    @ivar connections: those that there are, the oldest first.
    @type connections: L{dict} of L{QuietChannel} to L{None}
    """

    noisy = False
    protocol = QuietChannel  # type: ignore[assignment]
    requestFactory = ShortRequest

    maxConnections = 100

    def __init__(self, resource: IResource, reactor: Any, timeout: float = 10) -> None:
        """
        @param resource: answers the requests.

        @param reactor: an L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param timeout: how long a request may take to come, and its answer to be
            taken, in seconds; then the connection ends.
        """
        super().__init__(resource, timeout=timeout, reactor=reactor)  # type: ignore[no-untyped-call]
        self.connections: dict[QuietChannel, None] = {}

    def buildProtocol(self, addr: Any) -> Any:
        """
        Take a connection, if there is room or can be made.
        """
        if len(self.connections) >= self.maxConnections:
            idle = (each for each in self.connections if not each.isAnswering)
            oldest = next(idle, None)
            if oldest is None:
                return None
            del self.connections[oldest]
            oldest.timeoutConnection()
        return super().buildProtocol(addr)  # type: ignore[no-untyped-call]

    def startFactory(self) -> None:
        """
        Do not open a log of requests.
        """

    def stopFactory(self) -> None:
        """
        Do not close it either.
        """

    def log(self, request: object) -> None:
        """
        Do not log a request.
        """
