"""
Tests for L{shout.measure.unmatched}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.unmatched import UnmatchedReplies


class UnmatchedRepliesTests(SynchronousTestCase):
    """
    Tests for L{UnmatchedReplies}.
    """

    def setUp(self) -> None:
        self.replies = UnmatchedReplies()

    def test_empty(self) -> None:
        """
        Without a reply no probe is matched.
        """
        self.assertFalse(self.replies.match(1, 9))
        self.assertEqual(self.replies.matched, 0)

    def test_match(self) -> None:
        """
        A reply matches one probe.
        """
        self.replies.add(2, 2)
        self.assertEqual([self.replies.match(n, 9) for n in (1, 2)], [True, False])
        self.assertEqual(self.replies.matched, 1)

    def test_sentLater(self) -> None:
        """
        A reply matches no probe that was sent after its arrival.
        """
        self.replies.add(2, 2)
        self.replies.add(5, 3)
        self.assertEqual([self.replies.match(n, 9) for n in (3, 4)], [True, False])
        self.assertEqual(self.replies.matched, 1)

    def test_tooLate(self) -> None:
        """
        A reply matches no probe whose reply was expected earlier.
        """
        self.replies.add(90, 2)
        self.replies.add(95, 2)
        matches = [self.replies.match(1, 89), self.replies.match(2, 90)]
        self.assertEqual(matches, [False, True])

    def test_bounded(self) -> None:
        """
        No more replies are kept than there are probes in flight.
        """
        for _ in range(5):
            self.replies.add(3, 2)
        matches = [self.replies.match(sent, 9) for sent in (1, 2, 3)]
        self.assertEqual(matches, [True, True, False])

    def test_restore(self) -> None:
        """
        A restored reply matches another probe, if one is in flight that was sent
        before its arrival.
        """
        for inFlight, sent, isMatch in ((1, 2, True), (1, 3, False), (0, 2, False)):
            replies = UnmatchedReplies()
            replies.add(2, 2)
            replies.match(1, 9)
            replies.restore(inFlight)
            self.assertEqual(replies.matched, 0)
            self.assertEqual(replies.match(sent, 9), isMatch)
