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
        After the first end there is no wait, however soon it came.
        """
        self.assertEqual(Backoff().after(0), 0)

    def test_longer(self) -> None:
        """
        What keeps ending soon waits twice as long each time, up to a bound.
        """
        backoff = Backoff()
        waits = [backoff.after(0) for _ in range(20)]
        self.assertEqual(waits[:5], [0, 0.1, 0.2, 0.4, 0.8])
        self.assertEqual(waits, sorted(waits))
        self.assertEqual(waits[-5:], [Backoff.most] * 5)

    def test_reset(self) -> None:
        """
        What has lived a while is started again at once, and what ends soon after
        that waits little.
        """
        backoff = Backoff()
        for _ in range(20):
            backoff.after(0)
        self.assertEqual(backoff.after(Backoff.while_), 0)
        self.assertEqual(backoff.after(0), Backoff.least)
