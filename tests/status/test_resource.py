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
from tests.status.fakes import SNAPSHOT, FakeStatusSource
from tests.wire import Wire


class StatusResourceTests(TestCase):
    """
    Tests for L{StatusResource}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.source = FakeStatusSource()
        self.resource = StatusResource(self.source, self.clock.seconds)
        self.site = HardenedSite(self.resource, self.clock)

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """
        Request a page.
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
        C{/healthz} responds with 200 after a check without problems.
        """
        self.assertEqual(self.get("/healthz")[0], 0)
        self.source.report.callback(Report([], []))
        status, headers, body = self.wire.answer()
        self.assertEqual((status, body), (200, b"every socket answers\n"))
        self.assertEqual(headers["content-type"], "text/plain; charset=utf-8")

    def test_wholeURL(self) -> None:
        """
        The target of a request may be the whole URL, as to a proxy.
        """
        for url in ("http://shout/", "HTTP://[::1]:9990/?from=a"):
            self.assertEqual(self.get(url)[0], 200)
        for url in ("http://shout/no", "http://[", "ftp://shout/"):
            self.assertEqual(self.get(url)[0], 404)

    def test_unhealthy(self) -> None:
        """
        C{/healthz} responds with 503 after a check with problems, and a line for each,
        and for each socket that was skipped.
        """
        problems = ["UNIX /a\udcff is mute", "UDP b is slow"]
        self.source.report.callback(Report(problems, ["UDP c is skipped"]))
        status, _, body = self.get("/healthz")
        self.assertEqual(status, 503)
        self.assertEqual(
            body, b"UNIX /a\\udcff is mute\nUDP b is slow\nUDP c is skipped\n"
        )

    def test_skipped(self) -> None:
        """
        C{/healthz} responds with 200 and a line for a socket that was skipped.
        """
        self.source.report.callback(Report([], ["UDP c is skipped"]))
        status, _, body = self.get("/healthz")
        self.assertEqual(status, 200)
        self.assertEqual(body, b"every reachable socket answers\nUDP c is skipped\n")

    def test_metrics(self) -> None:
        """
        C{/metrics} has the counts in the format of Prometheus.
        """
        status, headers, body = self.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn(b"\nshout_replies_total 9.0\n", body)
        self.assertTrue(headers["content-type"].startswith("text/plain; version="))

    def test_snapshot(self) -> None:
        """
        C{/snapshot} has the counts as JSON, with the version, the present time and the
        start time.
        """
        self.clock.advance(1.5)
        status, headers, body = self.get("/snapshot")
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "application/json")
        values = json.loads(body)
        self.assertEqual(values.pop("version"), shout.__version__)
        self.assertEqual(values.pop("started"), 0)
        self.assertEqual(values.pop("seconds"), 1.5)
        self.assertEqual(Snapshot.fromJSON(values), SNAPSHOT)

    def test_slowSnapshot(self) -> None:
        """
        A snapshot may arrive later.
        """
        self.source.current = Deferred()
        self.assertEqual(self.get("/metrics")[0], 0)
        self.source.current.callback(SNAPSHOT)
        self.assertEqual(self.wire.answer()[0], 200)

    def test_page(self) -> None:
        """
        C{/} has the page, and a policy that lets the browser load nothing else but
        data from the same server.
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
        The page has no links to other servers or files, and stores nothing in the
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
        The response to HEAD is that to GET without the body.
        """
        for path in ("/", "/metrics", "/healthz", "/nothing"):
            self.source.report = Deferred()
            self.source.report.callback(Report([], []))
            got = self.get(path)
            status, headers, body = self.get(path, "HEAD")
            self.assertEqual((status, body), (got[0], b""))
            self.assertEqual(headers["content-length"], str(len(got[2])))

    def test_otherMethods(self) -> None:
        """
        Other methods are allowed for no path.
        """
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
            for path in ("/", "/nothing"):
                status, headers, _ = self.get(path, method)
                self.assertEqual((status, headers["allow"]), (405, "GET, HEAD"))

    def test_notFound(self) -> None:
        """
        Other paths are not found.
        """
        for path in ("/favicon.ico", "/metrics/", "//", "/../etc/passwd", "/%2e"):
            self.assertEqual(self.get(path)[0], 404)

    def test_headers(self) -> None:
        """
        Every response has the security headers, and none has a version.
        """
        self.source.report.callback(Report([], []))
        for path in ("/", "/healthz", "/metrics", "/snapshot", "/nothing"):
            _, headers, _ = self.get(path)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertEqual(headers["cache-control"], "no-store")
            self.assertEqual(headers["server"], "shout")
            self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])

    def test_exception(self) -> None:
        """
        The response to an exception is 500 without details, and the exception is logged
        once in 30 seconds.
        """
        self.source.snapshot = self.fail  # type: ignore[method-assign]
        for _ in range(100):
            status, _, body = self.get("/metrics")
            self.assertEqual((status, body), (500, b"internal error; see the log\n"))
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.clock.advance(30)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.clock.advance(100)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.get("/")[0], 200)

    def test_disconnected(self) -> None:
        """
        If the client disconnects before the response, nothing is written.
        """
        self.get("/healthz")
        self.wire.protocol.connectionLost(connectionDone)
        self.source.report.callback(Report([], []))
        self.assertEqual(self.wire.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])
