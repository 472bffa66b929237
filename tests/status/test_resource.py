"""
Tests for L{shout.status.resource}.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

import shout
from shout.counters import Snapshot
from shout.status.health import Report
from shout.status.resource import StatusResource
from shout.status.site import HardenedSite
from tests.status.test_prometheus import FIGURES
from tests.wire import Wire


class StatusSource:
    """
    Something whose figures and whose health are what a test says.
    """

    def __init__(self) -> None:
        self.now: Snapshot | Deferred[Snapshot] = FIGURES
        self.found: Deferred[Report] = Deferred()

    def snapshot(self) -> Snapshot | Deferred[Snapshot]:
        return self.now

    def check(self) -> Deferred[Report]:
        return self.found


class StatusResourceTests(TestCase):
    """
    Tests for L{StatusResource}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = StatusSource()
        self.resource = StatusResource(self.watched, self.clock.seconds)
        self.site = HardenedSite(self.resource, self.clock)

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """
        Ask for a page.
        """
        self.wire = Wire(self.site)
        return self.wire.ask(f"{method} {path} HTTP/1.1")

    def test_interface(self) -> None:
        """
        It is a resource.
        """
        verifyObject(IResource, self.resource)

    def test_healthy(self) -> None:
        """
        C{/healthz} waits for the check, and then says 200 if nothing is wrong.
        """
        self.assertEqual(self.get("/healthz")[0], 0)
        self.watched.found.callback(Report([], []))
        status, headers, body = self.wire.answer()
        self.assertEqual((status, body), (200, b"every socket answers\n"))
        self.assertEqual(headers["content-type"], "text/plain; charset=utf-8")

    def test_wholeURL(self) -> None:
        """
        A request may name the whole URL, as to a proxy.
        """
        for url in ("http://shout/", "HTTP://[::1]:9990/?from=a"):
            self.assertEqual(self.get(url)[0], 200)
        for url in ("http://shout/no", "http://[", "ftp://shout/"):
            self.assertEqual(self.get(url)[0], 404)

    def test_unhealthy(self) -> None:
        """
        C{/healthz} says 503 if something is wrong, with a line for each, and for
        each socket that is not counted.
        """
        troubles = ["UNIX /a\udcff is mute", "UDP b is slow"]
        self.watched.found.callback(Report(troubles, ["UDP c is not counted"]))
        status, _, body = self.get("/healthz")
        self.assertEqual(status, 503)
        self.assertEqual(
            body, b"UNIX /a\\udcff is mute\nUDP b is slow\nUDP c is not counted\n"
        )

    def test_notCounted(self) -> None:
        """
        C{/healthz} says 200 although a socket is not counted, and names it.
        """
        self.watched.found.callback(Report([], ["UDP c is not counted"]))
        status, _, body = self.get("/healthz")
        self.assertEqual(status, 200)
        self.assertEqual(
            body,
            b"every socket answers that this host can reach\nUDP c is not counted\n",
        )

    def test_metrics(self) -> None:
        """
        C{/metrics} has the figures for Prometheus.
        """
        status, headers, body = self.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn(b"\nshout_replies_total 9.0\n", body)
        self.assertTrue(headers["content-type"].startswith("text/plain; version="))

    def test_figures(self) -> None:
        """
        C{/snapshot} has them as JSON, with when that is and since when.
        """
        self.clock.advance(1.5)
        status, headers, body = self.get("/snapshot")
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "application/json")
        values = json.loads(body)
        self.assertEqual(values.pop("version"), shout.__version__)
        self.assertEqual(values.pop("started"), 0)
        self.assertEqual(values.pop("seconds"), 1.5)
        self.assertEqual(Snapshot.fromJSON(values), FIGURES)

    def test_figuresLater(self) -> None:
        """
        Figures may take a while to come.
        """
        self.watched.now = Deferred()
        self.assertEqual(self.get("/metrics")[0], 0)
        self.watched.now.callback(FIGURES)
        self.assertEqual(self.wire.answer()[0], 200)

    def test_page(self) -> None:
        """
        C{/} has one page, and lets the browser load nothing but what is in it,
        and figures from the same place.
        """
        status, headers, _ = self.get("/?from=a&bookmark")
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "text/html; charset=utf-8")
        policy = dict(
            directive.strip().split(" ", 1)
            for directive in headers["content-security-policy"].split(";")
        )
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual(policy["connect-src"], "'self'")
        self.assertRegex(policy["script-src"], r"^'sha256-[A-Za-z0-9+/]{43}='$")
        self.assertNotIn("unsafe", headers["content-security-policy"])

    def test_nothingFromElsewhere(self) -> None:
        """
        The page names no other place and no other file, and keeps nothing in the
        browser.
        """
        _, headers, body = self.get("/")
        elsewhere: list[str] = []

        class Links(HTMLParser):
            def handle_starttag(
                self, tag: str, attrs: list[tuple[str, str | None]]
            ) -> None:
                elsewhere.extend(
                    value or ""
                    for name, value in attrs
                    if name in ("href", "src", "style", "action")
                    and not (value or "").startswith("data:")
                )

        Links().feed(body.decode())
        self.assertEqual(elsewhere, [])
        names = set(re.findall(r"https?://[^\s'\"]+", body.decode()))
        self.assertEqual(names, {"http://www.w3.org/2000/svg"})
        self.assertNotIn("set-cookie", headers)
        self.assertNotRegex(body.decode(), "cookie|localStorage|sessionStorage")

    def test_head(self) -> None:
        """
        HEAD is answered like GET, without the body.
        """
        for path in ("/", "/metrics", "/healthz", "/nothing"):
            self.watched.found = Deferred()
            self.watched.found.callback(Report([], []))
            got = self.get(path)
            status, headers, body = self.get(path, "HEAD")
            self.assertEqual((status, body), (got[0], b""))
            self.assertEqual(headers["content-length"], str(len(got[2])))

    def test_otherMethods(self) -> None:
        """
        Other methods are not allowed anywhere.
        """
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
            for path in ("/", "/nothing"):
                status, headers, _ = self.get(path, method)
                self.assertEqual((status, headers["allow"]), (405, "GET, HEAD"))

    def test_notFound(self) -> None:
        """
        There is nothing else.
        """
        for path in ("/favicon.ico", "/metrics/", "//", "/../etc/passwd", "/%2e"):
            self.assertEqual(self.get(path)[0], 404)

    def test_headers(self) -> None:
        """
        Every answer tells the browser to be careful, and nobody which version of
        what has sent it.
        """
        self.watched.found.callback(Report([], []))
        for path in ("/", "/healthz", "/metrics", "/snapshot", "/nothing"):
            _, headers, _ = self.get(path)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertEqual(headers["cache-control"], "no-store")
            self.assertEqual(headers["server"], "shout")
            self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])

    def test_mistake(self) -> None:
        """
        When the figures cannot be had the answer is 500 and no more; why is in
        the log, once in 30 seconds.
        """
        self.watched.snapshot = self.fail  # type: ignore[method-assign]
        for _ in range(100):
            status, _, body = self.get("/metrics")
            self.assertEqual(
                (status, body), (500, b"something is wrong; see the log\n")
            )
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.clock.advance(30)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.clock.advance(100)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.get("/")[0], 200)

    def test_gone(self) -> None:
        """
        When the client has gone before there is an answer none is written.
        """
        self.get("/healthz")
        self.wire.protocol.connectionLost(connectionDone)
        self.watched.found.callback(Report([], []))
        self.assertEqual(self.wire.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])
