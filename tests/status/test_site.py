"""
Tests for L{shout.status.site}.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import INegotiated
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from twisted.web import http
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import alsoProvides

from shout.ratelimitedlog import RateLimitedLog
from shout.status.site import HardenedSite
from tests.wire import Wire


class Greeting(Resource):
    """
    A resource that responds to each request at once.
    """

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"hello"


class Waiting(Resource):
    """
    A resource whose responses a test finishes.
    """

    isLeaf = True

    def render(self, request: Request) -> int:
        return NOT_DONE_YET


class HardenedSiteTests(TestCase):
    """
    Tests for L{HardenedSite}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        resource: IResource = Greeting()
        self.site = HardenedSite(resource, self.clock)
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def logged(self) -> list[str]:
        """
        Return the lines of the log.
        """
        return [formatEvent(event) for event in self.log]

    def test_answers(self) -> None:
        """
        A request is answered, and the write side of its connection is shut down.
        """
        self.site.doStart()
        wire = Wire(self.site)
        status, headers, body = wire.ask("GET / HTTP/1.1")
        self.assertEqual((status, body), (200, b"hello"))
        self.assertEqual(headers["connection"], "close")
        self.assertTrue(wire.isShut)
        wire.protocol.readConnectionLost()
        self.assertTrue(wire.isClosed)
        self.site.doStop()

    def test_pipelined(self) -> None:
        """
        Only the first request of a connection is answered: thousands at once would
        block the reactor.
        """
        wire = Wire(self.site)
        request = b"GET / HTTP/1.1\r\nHost: shout\r\n\r\n"
        wire.send(1000 * request)
        wire.send(request)
        self.assertEqual(wire.value().count(b"200 OK"), 1)
        self.assertEqual(self.logged(), [])

    def test_quiet(self) -> None:
        """
        Requests and closed connections are not logged, and leave no delayed calls.
        """
        self.site.doStart()
        wire = Wire(self.site)
        wire.ask("GET / HTTP/1.1")
        Wire(self.site)
        self.clock.advance(11)
        self.site.doStop()
        self.assertEqual(self.logged(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """
        A connection without a request is closed after 10 seconds.
        """
        wire = Wire(self.site)
        self.clock.advance(9)
        self.assertFalse(wire.isClosed)
        self.clock.advance(2)
        self.assertTrue(wire.isClosed)

    def test_responseNotRead(self) -> None:
        """
        If the client does not read the response, the connection is aborted after 10
        seconds, and that is logged.
        """
        wire = Wire(self.site, reads=False)
        self.clock.advance(9)
        wire.ask("GET / HTTP/1.1")
        self.clock.advance(9)
        self.assertFalse(wire.isCutOff)
        self.clock.advance(2)
        self.assertTrue(wire.isCutOff)
        self.assertEqual(self.logged(), ["HTTP from 192.0.2.1: response not read"])

    def test_notClosed(self) -> None:
        """
        A client that has read the response has another 10 seconds to close the
        connection.
        """
        wire = Wire(self.site)
        wire.ask("GET / HTTP/1.1")
        self.clock.advance(9)
        self.assertFalse(wire.isClosed)
        self.clock.advance(2)
        self.assertTrue(wire.isClosed)
        self.assertFalse(wire.isCutOff)
        self.assertEqual(self.logged(), [])

    def test_trickle(self) -> None:
        """
        A request that arrives byte by byte has no more time than another.  The response
        is 408, which is logged, and the connection is closed.
        """
        wire = Wire(self.site)
        for byte in b"GET / HTTP/1":
            self.assertFalse(wire.isClosed)
            wire.send(bytes([byte]))
            self.clock.advance(0.9)
        self.assertEqual(wire.answer()[0], 408)
        self.assertTrue(wire.isShut)
        self.assertEqual(self.logged(), ["HTTP from 192.0.2.1: request timed out"])
        self.clock.advance(10)
        self.assertTrue(wire.isClosed)

    def test_slowResponse(self) -> None:
        """
        There is no time limit for the resource.
        """
        wire = Wire(HardenedSite(Waiting(), self.clock))
        wire.ask("GET / HTTP/1.1")
        self.clock.advance(100)
        self.assertFalse(wire.isClosed)

    def test_halfClosed(self) -> None:
        """
        A client that shuts down its write side after the request receives the response,
        at once or later, and then the connection is closed.
        """
        wire = Wire(self.site, reads=False)
        wire.ask("GET / HTTP/1.1")
        wire.protocol.readConnectionLost()
        self.assertFalse(wire.isClosed)
        wire.protocol.writeConnectionLost()
        self.assertTrue(wire.isClosed)
        wire = Wire(HardenedSite(Waiting(), self.clock))
        wire.ask("GET / HTTP/1.1")
        wire.protocol.readConnectionLost()
        self.assertFalse(wire.isClosed)
        wire.protocol.requests[0].finish()
        self.assertEqual(wire.answer()[0], 200)
        self.assertTrue(wire.isClosed)
        self.assertFalse(wire.isCutOff)

    def test_halfClosedEarly(self) -> None:
        """
        A client that shuts down its write side within the request receives 400, and one
        that has sent nothing receives nothing.
        """
        wire = Wire(self.site)
        wire.send(b"GET / HT")
        wire.protocol.readConnectionLost()
        self.assertEqual(wire.answer()[0], 400)
        self.assertTrue(wire.isClosed)
        wire = Wire(self.site)
        wire.protocol.readConnectionLost()
        self.assertEqual(wire.value(), b"")
        self.assertTrue(wire.isClosed)

    def test_broken(self) -> None:
        """
        A connection that the client shuts down within the request is forgotten.
        """
        wire = Wire(self.site)
        wire.send(b"GET / HT")
        wire.protocol.readConnectionLost()
        self.assertTrue(wire.isClosed)
        self.assertEqual(self.site.connections, {})

    def test_methods(self) -> None:
        """
        Methods other than GET and HEAD are not allowed, with any target and body, and
        the response lists the allowed ones (RFC 9110, 15.5.6).
        """
        for line in (
            "POST / HTTP/1.1", "PUT /nothing HTTP/1.0", "OPTIONS * HTTP/1.1",
            "CONNECT a:1 HTTP/1.1", "BREW http://a/ HTTP/1.1", "get / HTTP/1.1",
        ):  # fmt: skip
            wire = Wire(self.site)
            status, headers, body = wire.ask(
                line, "Content-Length: 3", "Content-Type: a/b;\x0bc", body=b"abc"
            )
            self.assertEqual((status, body), (405, b""))
            self.assertEqual(headers["allow"], "GET, HEAD")
            self.assertEqual(headers["connection"], "close")
            self.assertEqual(headers["date"], "Thu, 01 Jan 1970 00:00:00 GMT")
            self.assertTrue(wire.isShut)

    def test_bodies(self) -> None:
        """
        A request with a body of any length is refused before the body arrives.
        """
        for method in ("GET", "HEAD"):
            for header in (
                "Content-Length: 3",
                "content-length:3",
                f"Content-Length: {'9' * 5000}",
                "Content-Length: 0\r\nContent-Length: 1",
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: identity",
                "Content-Length: 0\r\nTransfer-Encoding: gzip, chunked",
            ):
                wire = Wire(self.site)
                answer = wire.ask(f"{method} / HTTP/1.1", header, body=b"zz\r\n")
                self.assertEqual((answer[0], answer[2]), (413, b""))
                self.assertTrue(wire.isShut)

    def test_noBody(self) -> None:
        """
        A body of length 0 is accepted, and needs no "100 Continue".
        """
        status, _, body = Wire(self.site).ask(
            "GET / HTTP/1.1", "Content-Length: 0", "Expect: 100-continue"
        )
        self.assertEqual((status, body), (200, b"hello"))

    def test_notHTTP(self) -> None:
        """
        Everything but HTTP/1.1 and HTTP/1.0 is refused.
        """
        for line in (
            "GET /", "GET  / HTTP/1.1", "GET /a b HTTP/1.1", "GET / FOO",
            "GET / HTTP/1.2", "GET / HTTP/2.0", "PRI * HTTP/2.0", "G(T / HTTP/1.1",
            "GET * HTTP/1.1", "GET /\xe9 HTTP/1.1", "\x16\x03\x01", "\r\n",
        ):  # fmt: skip
            wire = Wire(self.site)
            status, headers, body = wire.ask(line)
            self.assertEqual((status, body), (400, b""))
            self.assertEqual(headers["connection"], "close")
            self.assertTrue(wire.isShut)

    def test_badHeader(self) -> None:
        """
        A malformed header in any place is refused once.
        """
        for header in (
            "no colon", ": b", "a : b", " a: b", "a\0: b", "a: \0", "a: b\x7f",
            "Content-Length: +0", "Content-Length: a", "Content-Length:",
        ):  # fmt: skip
            for headers in ((header,), ("a: b", header, "no colon")):
                wire = Wire(self.site)
                self.assertEqual(wire.ask("GET / HTTP/1.1", *headers)[0], 400)
                self.assertEqual(wire.value().count(b"HTTP/1.1"), 1)

    def test_longHead(self) -> None:
        """
        A request that is too long, or has too many header lines, is refused, in one
        piece or in several.
        """
        for text in (
            b"GET / HTTP/1.1\r\n" + 101 * b"a: b\r\n",
            b"GET / HTTP/1.1\r\nHeader: " + bytes(20_000) + b"\r\n",
            b"GET / HTTP/1.1\r\nHeader: " + bytes(100_000),
            bytes(20_000),
        ):
            for size in (100, len(text)):
                wire = Wire(self.site)
                for start in range(0, len(text), size):
                    wire.send(text[start : start + size])
                self.assertEqual(wire.answer()[0], 431)
                self.assertTrue(wire.isShut)

    def test_longTarget(self) -> None:
        """
        A target above the maximum length is refused.
        """
        for target in (1000 * "/", "/?" + 900 * "a&"):
            self.assertEqual(Wire(self.site).ask(f"GET {target} HTTP/1.1")[0], 200)
            self.assertEqual(Wire(self.site).ask(f"GET {3 * target} HTTP/1.1")[0], 414)

    def test_ignored(self) -> None:
        """
        Input after a request, answered or not, is ignored up to a maximum, above which
        the connection is aborted.
        """
        for site in (self.site, HardenedSite(Waiting(), self.clock)):
            wire = Wire(site)
            wire.ask("GET / HTTP/1.1", body=b"BREW\r\n" + bytes(10_000))
            for _ in range(98):
                wire.send(b"BREW\r\n" + bytes(10_000))
            self.assertFalse(wire.isClosed)
            wire.send(bytes(20_000))
            self.assertTrue(wire.isClosed)
        self.assertEqual(self.logged(), [])

    def test_linesIgnored(self) -> None:
        """
        The lines after a request, answered or not, are dropped together, because
        dropping them one by one takes time.
        """
        for line in (b"GET / HTTP/1.1\r\n\r\n", b"BREW / HTTP/1.1\r\n"):
            wire = Wire(self.site)
            lines: list[bytes] = []
            receive = wire.protocol.lineReceived

            def count(
                line: bytes,
                lines: list[bytes] = lines,
                receive: Callable[[bytes], None] = receive,
            ) -> None:
                lines.append(line)
                receive(line)

            wire.protocol.lineReceived = count
            wire.send(line + 1000 * b"a: b\r\n")
            self.assertLess(len(lines), 4)

    def test_logged(self) -> None:
        """
        Each kind of problem is logged once in 30 seconds, with the number of the others
        and the escaped beginning of one line.
        """
        for number in range(100):
            Wire(self.site).ask(f"POST /{number} HTTP/1.1")
            Wire(self.site).ask("\x1b[31m" + 1000 * "\xff")
            Wire(self.site).ask("GET / HTTP/1.1", "Content-Length: 1")
            Wire(self.site).send(bytes(20_000))
        before = [
            "method not allowed: b'POST /0 HTTP/1.1'",
            "not HTTP: b'\\x1b[31m" + 35 * "\\xff" + "'",
            "request body: b'Content-Length: 1'",
            "header too large",
        ]
        lines = [f"HTTP from 192.0.2.1: {each}" for each in before]
        self.assertEqual(self.logged(), lines)
        self.clock.advance(RateLimitedLog.quietPeriod)
        more = "; 98 more since the last such line"
        lines[0] = lines[0].replace("/0", "/99")
        self.assertEqual(self.logged()[4:], [line + more for line in lines])

    def test_logWhenStopped(self) -> None:
        """
        Problems that were only counted are logged when the site stops, and no delayed
        call is left.
        """
        self.site.doStart()
        for _ in range(3):
            Wire(self.site, peer=UNIXAddress("")).ask("GET")
        self.clock.advance(10)
        self.site.doStop()
        line = "HTTP from a UNIX socket: not HTTP: b'GET'"
        more = "; 1 more since the last such line"
        self.assertEqual(self.logged(), [line, line + more])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connections(self) -> None:
        """
        A connection above the maximum replaces the oldest, even one within its request,
        and that is logged.
        """
        wires = [Wire(self.site) for _ in range(100)]
        wires[0].send(b"GET / HTTP/1.1\r\n")
        wires[1].protocol.connectionLost(connectionDone)
        wires.append(Wire(self.site))
        self.assertFalse(wires[0].isClosed)
        self.assertEqual(self.logged(), [])
        wires.append(Wire(self.site))
        self.assertEqual([wire for wire in wires if wire.isClosed], wires[:1])
        self.assertEqual(len(self.site.connections), 100)
        self.assertEqual(wires[-1].ask("GET / HTTP/1.1")[0], 200)
        self.assertEqual(self.logged(), ["HTTP from 192.0.2.1: too many connections"])

    def test_connectionsAnswered(self) -> None:
        """
        An answered connection is replaced first, without harm to its response, and that
        is not logged.
        """
        wires = [Wire(self.site) for _ in range(100)]
        wires[50].ask("GET / HTTP/1.1")
        Wire(self.site)
        self.assertEqual([wire for wire in wires if wire.isClosed], [wires[50]])
        self.assertFalse(wires[50].isCutOff)
        self.assertEqual(self.logged(), [])

    def test_connectionsAnswering(self) -> None:
        """
        A connection with an unfinished response is not replaced; if all are such, a new
        connection is refused.
        """
        site = HardenedSite(Waiting(), self.clock)
        wires = [Wire(site) for _ in range(100)]
        for wire in wires[:50] + wires[51:]:
            wire.ask("GET / HTTP/1.1")
        another = Wire(site)
        self.assertEqual([wire for wire in wires if wire.isClosed], [wires[50]])
        another.ask("GET / HTTP/1.1")
        self.assertIsNone(Wire(site).protocol)

    def test_descriptors(self) -> None:
        """
        While few file descriptors are left, a new connection replaces another, and that
        is logged.  A single connection stays.
        """
        limit = os.sysconf("SC_OPEN_MAX")
        wires: list[Wire] = []

        def connect(count: int) -> None:
            for _ in range(count):
                taken = {wire.fileno() for wire in wires if not wire.isClosed}
                lowest = min(set(range(limit - 40, limit)) - taken)
                wires.append(Wire(self.site, descriptor=lowest))

        connect(20)
        self.assertEqual([wire for wire in wires if wire.isClosed], wires[:4])
        line = f"HTTP from 192.0.2.1: few of {limit} file descriptors left (ulimit -n)"
        self.assertEqual(self.logged(), [line])
        for wire in wires[4:8]:
            wire.loseConnection()
        connect(6)
        self.assertEqual([wire for wire in wires if wire.isClosed], wires[:10])

    def test_noDescriptors(self) -> None:
        """
        If all file descriptors are in use, there is still one connection.
        """
        limit = os.sysconf("SC_OPEN_MAX")
        wires = [Wire(self.site, descriptor=limit - 1) for _ in range(3)]
        self.assertEqual([wire for wire in wires if wire.isClosed], wires[:2])
        self.assertEqual(wires[2].ask("GET / HTTP/1.1")[0], 200)

    def test_protocols(self) -> None:
        """
        HTTP/2 is not offered over TLS, even if Twisted supports it.
        """
        self.patch(http, "H2_ENABLED", True)
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])

    def test_TLS(self) -> None:
        """
        Over TLS the connection is closed after the response, without a shutdown of the
        write side.
        """
        wire = Wire(self.site)
        alsoProvides(wire, INegotiated)
        self.assertEqual(wire.ask("GET / HTTP/1.1")[0], 200)
        self.assertTrue(wire.isClosed)
        self.assertFalse(wire.isShut or wire.isCutOff)
