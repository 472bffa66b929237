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


class QuietChannel(HTTPChannel):
    """
    A connection that is counted, and that ends without a line in the log when
    nothing comes.
    """

    factory: QuietSite

    def connectionMade(self) -> None:
        """
        Count the connection.
        """
        self.factory.connections += 1
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Count the connection no longer.
        """
        self.factory.connections -= 1
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def timeoutConnection(self) -> None:
        """
        End the connection.
        """
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]


class QuietSite(Site):
    """
    A site for a few, over HTTP/1.1.

    @cvar maxConnections: how many connections there are at most; more are closed
        at once.

    @ivar connections: how many there are.
    @type connections: L{int}
    """

    noisy = False
    protocol = QuietChannel  # type: ignore[assignment]
    requestFactory = ShortRequest

    maxConnections = 100

    def __init__(self, resource: IResource, reactor: Any, timeout: float = 60) -> None:
        """
        @param resource: answers the requests.

        @param reactor: an L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param timeout: after how long without a byte a connection ends, in
            seconds.
        """
        super().__init__(resource, timeout=timeout, reactor=reactor)  # type: ignore[no-untyped-call]
        self.connections = 0

    def buildProtocol(self, addr: Any) -> Any:
        """
        Take a connection, if there is room.
        """
        if self.connections >= self.maxConnections:
            return None
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
