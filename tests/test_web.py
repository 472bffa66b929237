"""
Tests for L{shout.web.site}.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from shout.web.site import QuietSite


class Wire(StringTransport):
    """
    A connection of a site's to a client that a test plays.
    """

    def __init__(self, site: QuietSite) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 4000))
        self.isClosed = False
        self.protocol = site.buildProtocol(self.getPeer())
        if self.protocol is not None:
            self.protocol.makeConnection(self)

    def ask(self, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """
        Send a request, and return the status, the headers and the body of what
        comes back.
        """
        self.clear()
        text = "".join(f"{line}\r\n" for line in (*lines, "Host: shout", ""))
        self.protocol.dataReceived(text.encode() + body)
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """
        Return the status, the headers and the body of what has come; a status
        of 0 when that is nothing.
        """
        if not self.value():
            return 0, {}, b""
        head, _, body = self.value().partition(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        pairs = (header.partition(": ") for header in headers)
        return (
            int(status.split()[1]),
            {name.lower(): value for name, _, value in pairs},
            body,
        )

    def loseConnection(self) -> None:
        self.isClosed = True

    def abortConnection(self) -> None:
        self.isClosed = True


class Greeting(Resource):
    """
    Answers everything.
    """

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"hello"


class QuietSiteTests(TestCase):
    """
    Tests for L{QuietSite}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        resource: IResource = Greeting()
        self.site = QuietSite(resource, self.clock, 60)
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def test_answers(self) -> None:
        """
        Requests on one connection are answered one after the other.
        """
        self.site.doStart()
        wire = Wire(self.site)
        for _ in range(3):
            status, _, body = wire.ask("GET / HTTP/1.1")
            self.assertEqual((status, body), (200, b"hello"))
        self.assertFalse(wire.isClosed)
        self.site.doStop()

    def test_quiet(self) -> None:
        """
        Neither requests nor connections that end leave a line in the log, and
        nothing is done by the clock.
        """
        self.site.doStart()
        wire = Wire(self.site)
        wire.ask("GET / HTTP/1.1")
        Wire(self.site)
        self.clock.advance(61)
        self.site.doStop()
        self.assertEqual(list(self.log), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """
        A connection on which nothing comes is closed after a minute.
        """
        wire = Wire(self.site)
        self.clock.advance(59)
        self.assertFalse(wire.isClosed)
        self.clock.advance(2)
        self.assertTrue(wire.isClosed)

    def test_shortBody(self) -> None:
        """
        A request with a short body, which nobody needs, is answered.
        """
        status, _, _ = Wire(self.site).ask(
            "POST / HTTP/1.1", "Content-Length: 3", body=b"abc"
        )
        self.assertEqual(status, 200)

    def test_longBody(self) -> None:
        """
        A request with a long body is refused before the body comes, and what of
        it does come is not kept.
        """
        wire = Wire(self.site)
        status, headers, _ = wire.ask(
            "POST / HTTP/1.1", "Content-Length: 10001", body=bytes(10_001)
        )
        self.assertEqual((status, headers["connection"]), (413, "close"))
        self.assertTrue(wire.isClosed)
        self.assertEqual(wire.value().count(b"HTTP/1.1"), 1)

    def test_endlessBody(self) -> None:
        """
        A request that does not say how long its body is is refused.
        """
        wire = Wire(self.site)
        status, _, _ = wire.ask("POST / HTTP/1.1", "Transfer-Encoding: chunked")
        self.assertEqual(status, 413)
        self.assertTrue(wire.isClosed)

    def test_longHead(self) -> None:
        """
        A request whose headers do not end is cut off.
        """
        wire = Wire(self.site)
        wire.protocol.dataReceived(b"GET / HTTP/1.1\r\n")
        for _ in range(100):
            if not wire.isClosed:
                wire.protocol.dataReceived(b"Header: %s\r\n" % (b"x" * 1000))
        self.assertTrue(wire.isClosed)

    def test_connections(self) -> None:
        """
        There are at most a hundred connections at a time.
        """
        wires = [Wire(self.site) for _ in range(100)]
        self.assertIsNone(Wire(self.site).protocol)
        wires[0].protocol.connectionLost(connectionDone)
        self.assertIsNotNone(Wire(self.site).protocol)
        self.assertEqual(self.site.connections, 100)
