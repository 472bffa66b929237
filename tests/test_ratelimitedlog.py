"""
Tests for L{shout.ratelimitedlog}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout.ratelimitedlog import RateLimitedLog


class RateLimitedLogTests(SynchronousTestCase):
    """
    Tests for L{RateLimitedLog}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.log = RateLimitedLog(self.lines.append, self.clock)

    def test_first(self) -> None:
        """
        The first event is logged at once.
        """
        self.log.add("one")
        self.assertEqual(self.lines, ["one"])

    def test_several(self) -> None:
        """
        The last of the events in the quiet period is logged at its end, with the number
        of the others.
        """
        for text in ("one", "two", "three", "four"):
            self.log.add(text)
            self.clock.advance(1)
        self.assertEqual(self.lines, ["one"])
        self.clock.advance(RateLimitedLog.quietPeriod)
        self.assertEqual(self.lines[1:], ["four; 2 more since the last such line"])
        self.log.add("five")
        self.clock.advance(RateLimitedLog.quietPeriod)
        self.assertEqual(self.lines[2:], ["five"])

    def test_seldom(self) -> None:
        """
        An event after the quiet period is logged at once, and no event is logged twice.
        """
        self.log.add("one")
        self.clock.advance(RateLimitedLog.quietPeriod)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.log.add("two")
        self.assertEqual(self.lines, ["one", "two"])

    def test_details(self) -> None:
        """
        A line is written with the details of its event.
        """
        lines: list[tuple[str, ...]] = []
        log = RateLimitedLog(
            lambda text, number: lines.append((text, number)), self.clock
        )
        for number in "123":
            log.add("event", number)
        log.flush()
        self.assertEqual(
            lines, [("event", "1"), ("event; 1 more since the last such line", "3")]
        )

    def test_flush(self) -> None:
        """
        The events that have been counted are logged at once, and the timer is
        cancelled.
        """
        self.log.flush()
        for text in ("one", "two", "three"):
            self.log.add(text)
        self.log.flush()
        self.log.flush()
        self.assertEqual(self.lines, ["one", "three; 1 more since the last such line"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
