"""
Tests for L{shout.workers.backoff}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.workers.backoff import Backoff


class BackoffTests(SynchronousTestCase):
    """
    Tests for L{Backoff}.
    """

    def test_first(self) -> None:
        """
        The first restart is immediate, even after no uptime.
        """
        self.assertEqual(Backoff().delayAfter(0), 0)

    def test_doubles(self) -> None:
        """
        After short uptimes the delay doubles each time, up to a bound.
        """
        backoff = Backoff()
        delays = [backoff.delayAfter(0) for _ in range(20)]
        self.assertEqual(delays[:5], [0, 0.1, 0.2, 0.4, 0.8])
        self.assertEqual(delays, sorted(delays))
        self.assertEqual(delays[-5:], [Backoff.maxDelay] * 5)

    def test_reset(self) -> None:
        """
        After a long uptime the restart is immediate, and the delays begin anew.
        """
        backoff = Backoff()
        for _ in range(20):
            backoff.delayAfter(0)
        self.assertEqual(backoff.delayAfter(Backoff.minUptime), 0)
        self.assertEqual(backoff.delayAfter(0), Backoff.minDelay)
