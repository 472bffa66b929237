"""
Tests for L{shout.processes.notices}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout.processes.notices import Notices


class NoticesTests(SynchronousTestCase):
    """
    Tests for L{Notices}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.notices = Notices(self.said.append, self.clock)

    def test_first(self) -> None:
        """
        The first is said at once.
        """
        self.notices.add("one")
        self.assertEqual(self.said, ["one"])

    def test_several(self) -> None:
        """
        Of those that follow soon the last is said after a while, with the number
        of the others.
        """
        for text in ("one", "two", "three", "four"):
            self.notices.add(text)
            self.clock.advance(1)
        self.assertEqual(self.said, ["one"])
        self.clock.advance(Notices.quietPeriod)
        self.assertEqual(self.said[1:], ["four; 2 more since this was said"])
        self.notices.add("five")
        self.clock.advance(Notices.quietPeriod)
        self.assertEqual(self.said[2:], ["five"])

    def test_seldom(self) -> None:
        """
        What comes a while later is said at once, and nothing again.
        """
        self.notices.add("one")
        self.clock.advance(Notices.quietPeriod)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.notices.add("two")
        self.assertEqual(self.said, ["one", "two"])

    def test_flush(self) -> None:
        """
        What was only counted can be said earlier; then nothing is left to do.
        """
        self.notices.flush()
        for text in ("one", "two", "three"):
            self.notices.add(text)
        self.notices.flush()
        self.notices.flush()
        self.assertEqual(self.said, ["one", "three; 1 more since this was said"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
