"""
Tests for L{shout.measure.unmatched}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.unmatched import UnmatchedReplies


class ClaimsTests(SynchronousTestCase):
    """
    Tests for L{UnmatchedReplies}.
    """

    def setUp(self) -> None:
        self.claims = UnmatchedReplies()

    def test_nothing(self) -> None:
        """
        Where nothing is held no probe is claimed.
        """
        self.assertFalse(self.claims.claim(1, 9))
        self.assertEqual(self.claims.count, 0)

    def test_claim(self) -> None:
        """
        What is held claims one probe.
        """
        self.claims.hold(2, 2)
        self.assertEqual([self.claims.claim(n, 9) for n in (1, 2)], [True, False])
        self.assertEqual(self.claims.count, 1)

    def test_lapsed(self) -> None:
        """
        It claims none that left after it had come.
        """
        self.claims.hold(2, 2)
        self.claims.hold(5, 3)
        self.assertEqual([self.claims.claim(n, 9) for n in (3, 4)], [True, False])
        self.assertEqual(self.claims.count, 1)

    def test_tooLate(self) -> None:
        """
        Nor does it claim one to which it came too late, whatever came later.
        """
        self.claims.hold(90, 2)
        self.claims.hold(95, 2)
        claimed = [self.claims.claim(1, 89), self.claims.claim(2, 90)]
        self.assertEqual(claimed, [False, True])

    def test_bounded(self) -> None:
        """
        No more is held than there are probes that wait.
        """
        for _ in range(5):
            self.claims.hold(3, 2)
        claimed = [self.claims.claim(left, 9) for left in (1, 2, 3)]
        self.assertEqual(claimed, [True, True, False])

    def test_giveBack(self) -> None:
        """
        What is given back claims another probe, if one waits that had left when
        it came.
        """
        for inFlight, left, isClaimed in ((1, 2, True), (1, 3, False), (0, 2, False)):
            claims = UnmatchedReplies()
            claims.hold(2, 2)
            claims.claim(1, 9)
            claims.giveBack(inFlight)
            self.assertEqual(claims.count, 0)
            self.assertEqual(claims.claim(left, 9), isClaimed)
