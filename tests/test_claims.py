"""
Tests for L{shout.measurement.claims}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measurement.claims import Claims


class ClaimsTests(SynchronousTestCase):
    """
    Tests for L{Claims}.
    """

    def setUp(self) -> None:
        self.claims = Claims()

    def check(self, mistaken: int, refused: int) -> None:
        self.assertEqual(
            (self.claims.mistaken, self.claims.refused), (mistaken, refused)
        )

    def test_nothing(self) -> None:
        """
        Where nothing is held no probe is claimed.
        """
        self.assertFalse(self.claims.claim())
        self.check(0, 0)

    def test_claim(self) -> None:
        """
        Wrong replies claim before refusals, and each claims once.
        """
        self.claims.holdRefusal(2)
        self.claims.holdWrong(2)
        self.assertTrue(self.claims.claim())
        self.check(1, 0)
        self.assertTrue(self.claims.claim())
        self.check(1, 1)
        self.assertFalse(self.claims.claim())

    def test_bounded(self) -> None:
        """
        No more is held than there are probes that wait.
        """
        for _ in range(5):
            self.claims.holdWrong(2)
        self.assertEqual([self.claims.claim() for _ in range(3)], [True, True, False])

    def test_giveBack(self) -> None:
        """
        What is given back claims another probe, if one waits.
        """
        for hold, claimed in (
            (self.claims.holdWrong, (1, 0)),
            (self.claims.holdRefusal, (0, 1)),
        ):
            hold(1)
            self.claims.claim()
            self.check(*claimed)
            self.claims.giveBack(1)
            self.check(0, 0)
            self.assertTrue(self.claims.claim())
            self.claims.giveBack(0)
            self.assertFalse(self.claims.claim())
            self.check(0, 0)
