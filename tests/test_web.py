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
from twisted.web.server import NOT_DONE_YET, Request

from shout.web.site import QuietSite


class Wire(StringTransport):
    """
    A connection of a site's to a client that a test plays.
    """

    def __init__(self, site: QuietSite) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 4000))
        self.isClosed = self.isCutOff = False
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
        self.isClosed = self.isCutOff = True


class Greeting(Resource):
    """
    Answers everything.
    """

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"hello"


class Waiting(Resource):
    """
    Answers nothing for the time being.
    """

    isLeaf = True

    def render(self, request: Request) -> int:
        return NOT_DONE_YET


class QuietSiteTests(TestCase):
    """
    Tests for L{QuietSite}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        resource: IResource = Greeting()
        self.site = QuietSite(resource, self.clock)
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def test_answers(self) -> None:
        """
        A request is answered, and its connection ends with that.
        """
        self.site.doStart()
        wire = Wire(self.site)
        status, headers, body = wire.ask("GET / HTTP/1.1")
        self.assertEqual((status, body), (200, b"hello"))
        self.assertEqual(headers["connection"], "close")
        self.assertTrue(wire.isClosed)
        self.site.doStop()

    def test_sentAhead(self) -> None:
        """
        Of the requests that come with another or after it on one connection none
        is answered: thousands at once would keep all others waiting.
        """
        wire = Wire(self.site)
        request = b"GET / HTTP/1.1\r\nHost: shout\r\n\r\n"
        wire.protocol.dataReceived(1000 * request)
        wire.protocol.dataReceived(request)
        self.assertEqual(wire.value().count(b"200 OK"), 1)

    def test_quiet(self) -> None:
        """
        Neither requests nor connections that end leave a line in the log, and
        nothing is done by the clock.
        """
        self.site.doStart()
        wire = Wire(self.site)
        wire.ask("GET / HTTP/1.1")
        Wire(self.site)
        self.clock.advance(11)
        self.site.doStop()
        self.assertEqual(list(self.log), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """
        A connection on which nothing comes is closed after 10 seconds.
        """
        wire = Wire(self.site)
        self.clock.advance(9)
        self.assertFalse(wire.isClosed)
        self.clock.advance(2)
        self.assertTrue(wire.isClosed)

    def test_answerNotTaken(self) -> None:
        """
        A connection whose client does not take the answer is cut off 10 seconds
        after it.
        """
        wire = Wire(self.site)
        self.clock.advance(9)
        wire.ask("GET / HTTP/1.1")
        self.clock.advance(9)
        self.assertFalse(wire.isCutOff)
        self.clock.advance(2)
        self.assertTrue(wire.isCutOff)

    def test_trickle(self) -> None:
        """
        A request that comes byte by byte has no more time than another.
        """
        wire = Wire(self.site)
        for byte in b"GET / HTTP/1":
            self.assertFalse(wire.isClosed)
            wire.protocol.dataReceived(bytes([byte]))
            self.clock.advance(0.9)
        self.assertTrue(wire.isClosed)

    def test_slowAnswer(self) -> None:
        """
        An answer may take its time.
        """
        wire = Wire(QuietSite(Waiting(), self.clock))
        wire.ask("GET / HTTP/1.1")
        self.clock.advance(100)
        self.assertFalse(wire.isClosed)

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
        There are at most a hundred connections at a time; one more takes the place
        of the oldest, also of one that has begun with a request.
        """
        wires = [Wire(self.site) for _ in range(100)]
        wires[0].protocol.dataReceived(b"GET / HTTP/1.1\r\n")
        wires[1].protocol.connectionLost(connectionDone)
        wires.append(Wire(self.site))
        self.assertFalse(wires[0].isClosed)
        wires.append(Wire(self.site))
        self.assertEqual([wire for wire in wires if wire.isClosed], wires[:1])
        wires[0].protocol.connectionLost(connectionDone)
        self.assertEqual(len(self.site.connections), 100)
        self.assertEqual(wires[-1].ask("GET / HTTP/1.1")[0], 200)

    def test_connectionsAnswering(self) -> None:
        """
        Who is being answered keeps the connection; where all are, there is no room
        for one more.
        """
        site = QuietSite(Waiting(), self.clock)
        wires = [Wire(site) for _ in range(100)]
        for wire in wires[:50] + wires[51:]:
            wire.ask("GET / HTTP/1.1")
        another = Wire(site)
        self.assertEqual([wire for wire in wires if wire.isClosed], [wires[50]])
        another.ask("GET / HTTP/1.1")
        self.assertIsNone(Wire(site).protocol)
