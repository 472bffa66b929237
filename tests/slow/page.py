"""
Tests for the page of L{shout.status.resource}, in a browser.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from socket import AF_UNIX, SOCK_DGRAM, socket
from unittest import skipIf

from shout.sockets.bind import connectUDP
from tests import browser
from tests.browser import Browser
from tests.twistdcase import TIMEOUT, TwistdCase

# The width of a small phone, in CSS pixels.
PHONE = 360


@skipIf(browser.whyNot, browser.whyNot)
class PageTests(TwistdCase):
    """
    Tests for the page, on a phone, with a real server.
    """

    def setUp(self) -> None:
        super().setUp()
        self.port = self.serve("0", "0")
        self.browser = Browser(self, PHONE, 740)
        self.browser.open(f"http://127.0.0.1:{self.status}/")
        self.until(lambda: self.browser.text("#state").startswith("Live"))

    def serve(self, port: str, status: str) -> int:
        """
        Start a server, and return its port.
        """
        self.server = self.start(
            "twistd", "-n", "--pidfile=", "shout",
            "-p", port, "-i", "127.0.0.1", "-u", "s",
            "--status", f"tcp:{status}:interface=127.0.0.1",
        )  # fmt: skip
        found = self.waitFor(self.server, r"status at http://127.0.0.1:(\d+)/")
        self.status = found[1]
        found = self.waitFor(self.server, r"listening on UDP 127.0.0.1:(\d+)")
        return int(found[1])

    def until(self, holds: Callable[[], bool]) -> None:
        """
        Wait until a condition holds.
        """
        for _ in range(TIMEOUT * 10):
            if holds():
                return
            time.sleep(0.1)
        self.fail(self.browser.text("body"))

    def shows(self, selector: str, text: str) -> Callable[[], bool]:
        """
        Return a condition: an element of the page has a text.
        """
        return lambda: self.browser.text(selector) == text

    def load(self, count: int) -> None:
        """
        Send datagrams one by one, and wait for their replies.
        """
        with connectUDP("127.0.0.1", self.port) as client:
            client.settimeout(TIMEOUT)
            for _ in range(count):
                client.send(b"hello")
                client.recv(100)

    def test_draws(self) -> None:
        """
        Received and answered datagrams appear in the numbers, and in lines that rise
        and fall; the console of the browser is empty.
        """
        self.assertEqual(self.browser.text("#received-total"), "0")
        self.load(1234)
        with socket(AF_UNIX, SOCK_DGRAM) as unnamed:
            for _ in range(66):
                unnamed.sendto(b"no answer", self.path("s"))
        self.until(self.shows("#received-total", "1,300"))
        self.until(self.shows("#received-rate", "0"))
        self.assertEqual(self.browser.text("#answered-total"), "1,234")
        self.assertEqual(self.browser.text("#dropped-total"), "66")
        self.assertEqual(
            self.browser.text("#families"), "IPv4\t1,234\nUNIX sockets\t66"
        )
        self.assertEqual(self.browser.text("#reasons"), "unnamed peer\t66")
        for name in ("received", "answered", "dropped"):
            heights = self.browser.run(
                f"return document.querySelector('#chart .line.{name}')"
                ".getAttribute('d').match(/[0-9.]+(?=[ML]|$)/g).map(Number)"
            )
            self.assertGreater(len(set(heights)), 1)
        self.assertEqual(self.browser.messages(), [])

    def test_fits(self) -> None:
        """
        The page fits the width of a small phone, however large the numbers are.
        """
        self.browser.run(
            "last.snapshot.dropped = {['unheardofreason'.repeat(5)]: 1e15};"
            "last.totals.received = last.totals.answered = 123456789012;"
            "samples = [{time: now(), received: 4e6, answered: 4e6, dropped: 3}];"
            "updateTables(); draw();"
        )
        self.assertEqual(self.browser.text("#answered-total"), "123,456,789,012")
        width = self.browser.run("return document.documentElement.scrollWidth")
        self.assertEqual(width, PHONE)

    def test_accessible(self) -> None:
        """
        The lines differ in more than colour, and each is drawn beside its name.
        The page is dark if the user prefers that, and light otherwise.  The chart
        has a text with the current numbers, and only the state is announced.
        """
        looks = set()
        for name in ("received", "answered", "dropped"):
            styles = self.browser.run(
                f"return ['#chart', '.key'].map(place => {{"
                f"  const style = getComputedStyle("
                f"    document.querySelector(place + ' .line.{name}'));"
                f"  return style.strokeWidth + style.strokeDasharray}})"
            )
            self.assertEqual(styles[0], styles[1])
            looks.add(styles[0])
        self.assertEqual(len(looks), 3)
        brightness = {}
        for scheme in ("light", "dark"):
            self.browser.command(
                "Emulation.setEmulatedMedia",
                features=[{"name": "prefers-color-scheme", "value": scheme}],
            )
            colours = self.browser.run(
                "const style = getComputedStyle(document.body);"
                "return [style.color, style.backgroundColor].map("
                "  colour => colour.match(/[0-9]+/g).slice(0, 3).map(Number))"
            )
            brightness[scheme] = [sum(colour) for colour in colours]
        ink, page = brightness["light"]
        self.assertLess(ink + 500, page)
        ink, page = brightness["dark"]
        self.assertGreater(ink, page + 500)
        label = self.browser.run(
            "return document.getElementById('chart').getAttribute('aria-label')"
        )
        self.assertIn("Now: received ", label)
        live = self.browser.run(
            "return [...document.querySelectorAll('[role=status], [aria-live]')]"
            ".map(element => element.id)"
        )
        self.assertEqual(live, ["state"])

    def test_goneAndBack(self) -> None:
        """
        When the server is gone the page shows that and since when, and continues by
        itself when it is back, without drawing the new counts as a fall.
        """
        self.load(50)
        self.until(self.shows("#answered-total", "50"))
        self.server.kill()
        self.server.wait()
        self.until(lambda: "No answer from the server" in self.browser.text("#state"))
        self.assertRegex(self.browser.text("#state"), r"since \d\d:\d\d:\d\d")
        self.assertEqual(self.browser.text("#answered-rate"), "\u2013")
        self.serve(str(self.port), self.status)
        self.until(lambda: self.browser.text("#state").startswith("Live"))
        self.load(7)
        self.until(self.shows("#answered-total", "7"))
        drawn = self.browser.run("return samples.filter(Boolean).map(s => s.answered)")
        self.assertGreaterEqual(min(drawn), 0)

    def test_totals(self) -> None:
        """
        Datagrams dropped by a rule, not sent, and dropped by the kernel count as
        dropped.  The counts of a new server are not compared with those of the one
        before it, even if they are higher: there is a gap.
        """
        dropped = self.browser.run(
            "return totals({received: {}, replies: 0, dropped: {loop: 1},"
            "  sendErrors: {EPERM: 2}, kernelDrops: 4}).dropped"
        )
        self.assertEqual(dropped, 7)
        newest = self.browser.run(
            "const snapshot = last.snapshot;"
            "addSnapshot({...snapshot, seconds: snapshot.seconds + 1});"
            "addSnapshot({...snapshot, seconds: snapshot.seconds + 2, started: -1});"
            "return samples.slice(-2)"
        )
        self.assertIsNotNone(newest[0])
        self.assertIsNone(newest[1])

    def test_falls(self) -> None:
        """
        A count that falls, as the kernel's does after 32 bits, is drawn as zero and
        not as a negative number.
        """
        newest = self.browser.run(
            "const snapshot = last.snapshot;"
            "const seconds = snapshot.seconds;"
            "addSnapshot({...snapshot, seconds: seconds + 1, kernelDrops: 4294967295});"
            "addSnapshot({...snapshot, seconds: seconds + 2, kernelDrops: 5});"
            "return samples.slice(-2).map(each => each.dropped)"
        )
        self.assertEqual(newest, [4294967295, 0])

    def test_gap(self) -> None:
        """
        The lines have a gap where there are no numbers.
        """
        drawn = self.browser.run(
            "const at = (ago) => ("
            "  {time: now() - ago, received: 2, answered: 1, dropped: 0});"
            "samples = [at(50), at(40), null, at(20), at(10)]; draw();"
            "return [...document.querySelectorAll('#chart .line')]"
            "  .map(line => line.getAttribute('d').replace(/[^A-Z]/g, ''))"
        )
        self.assertEqual(drawn, ["MLML"] * 3)

    def test_goneTwice(self) -> None:
        """
        When the server is gone again the page shows the time of this outage.
        """
        self.browser.run("window.there = fetch; window.fetch = () => Promise.reject(0)")
        self.until(lambda: "No answer" in self.browser.text("#state"))
        self.browser.run("goneSince = new Date(2001, 1, 1, 3, 4, 5)")
        self.until(lambda: "since 03:04:05" in self.browser.text("#state"))
        self.browser.run("window.fetch = there")
        self.until(lambda: self.browser.text("#state").startswith("Live"))
        self.browser.run("window.fetch = () => Promise.reject(0)")
        self.until(lambda: "No answer" in self.browser.text("#state"))
        self.assertNotIn("03:04:05", self.browser.text("#state"))

    def test_slowAnswers(self) -> None:
        """
        After a slow answer, too, the page waits a second before the next request.  As
        long as the server answers nothing is announced.
        """
        self.browser.run(
            "window.changes = 0;"
            "new MutationObserver(() => changes++).observe(byId('state'),"
            "  {childList: true, characterData: true, subtree: true});"
            "window.waits = []; window.wait = setTimeout; window.there = fetch;"
            "window.setTimeout = (then, time) => {"
            "  waits.push(time); return wait(then, time)};"
            "window.fetch = async (...args) => {"
            "  await new Promise(then => wait(then, 500)); return there(...args)}"
        )
        self.until(lambda: self.browser.run("return waits.length > 1"))
        self.assertEqual(self.browser.run("return Math.min(...waits)"), 1000)
        self.assertEqual(self.browser.run("return changes"), 0)

    def test_stopped(self) -> None:
        """
        A server that runs but does not answer counts as gone, too.
        """
        self.server.send_signal(signal.SIGSTOP)
        try:
            self.until(lambda: "No answer" in self.browser.text("#state"))
        finally:
            self.server.send_signal(signal.SIGCONT)
        self.until(lambda: self.browser.text("#state").startswith("Live"))
