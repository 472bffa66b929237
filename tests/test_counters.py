"""
Tests for L{shout.counters}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from shout.counters import Counters


class CountersTests(TestCase):
    """
    Tests for L{Counters}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        # An uptime is not near 0.
        self.clock.advance(1000)
        self.counters = Counters(self.clock.seconds)
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.seen = 0

    def logged(self) -> list[tuple[str, int]]:
        """
        Return what has been logged since the last call.
        """
        events = self.events[self.seen :]
        self.seen = len(self.events)
        return [(event["reason"], event["count"]) for event in events]

    def test_firstDropIsLogged(self) -> None:
        """
        The first drop for each reason is logged at once.
        """
        self.counters.drop("one")
        self.counters.drop("other", 5)
        self.assertEqual(self.logged(), [("one", 1), ("other", 5)])

    def test_quiet(self) -> None:
        """
        A reason is logged at most once in 30 seconds, with the number of drops
        since the last line.
        """
        self.counters.drop("reason")
        self.logged()
        for _ in range(239):
            self.clock.advance(0.125)
            self.counters.drop("reason")
        self.assertEqual(self.logged(), [])
        self.clock.advance(0.125)
        self.counters.drop("reason")
        self.assertEqual(self.logged(), [("reason", 240)])
        self.assertEqual(self.counters.dropped, {"reason": 241})

    def test_count(self) -> None:
        """
        What arrives is counted for its family.
        """
        self.counters.count("ipv4", 2, 1)
        self.counters.count("unix", 1, 1)
        self.assertEqual(self.counters.families, {"ipv4": 2, "unix": 1})
        self.assertEqual(self.counters.received, 3)
        self.assertEqual(self.counters.answered, 2)

    def test_fail(self) -> None:
        """
        A reply that could not be sent is no longer among those that were, but
        among what was dropped and, by its error, what could not be sent.
        """
        self.counters.count("ipv4", 2, 2)
        self.counters.fail("ENOBUFS", 1)
        self.assertEqual(self.counters.answered, 1)
        self.assertEqual(self.counters.sendErrors, {"ENOBUFS": 1})
        self.assertEqual(self.counters.dropped, {"ENOBUFS": 1})
        self.assertEqual(self.logged(), [("ENOBUFS", 1)])

    def test_text(self) -> None:
        """
        The totals read as one line, with the reasons in alphabetical order.
        """
        self.assertEqual(str(self.counters), "received 0, answered 0, dropped 0")
        self.counters.count("ipv4", 6, 4)
        self.counters.count("unix", 4, 3)
        for reason in ("b", "a", "b"):
            self.counters.drop(reason)
        self.assertEqual(
            str(self.counters), "received 10, answered 7, dropped 3 (1 a, 2 b)"
        )
