"""
Tests for L{shout.measure.result}.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.measure.test_rate import NOTHING


class ResultTests(SynchronousTestCase):
    """
    Tests for L{Result<shout.measure.result.Result>}.
    """

    @given(st.integers(1, 10**12), st.integers(0, 10**12))
    def test_shares(self, sent: int, count: int) -> None:
        """
        How much was not answered, and how much is lost, is as close to the
        truth as a number can be, so that 30 % is no more than 30 %.
        """
        missing = min(count, sent)
        result = replace(NOTHING, sent=sent, answered=sent - missing, lost=missing)
        expected = float(Fraction(100 * missing, sent))
        self.assertEqual((result.unanswered, result.loss), (expected, expected))

    def test_noShares(self) -> None:
        """
        Of nothing sent nothing is lost.
        """
        result = replace(NOTHING, sent=0, answered=0)
        self.assertEqual((result.unanswered, result.loss), (0, 0))

    def test_rate(self) -> None:
        """
        The rate is that at which probes left, also those that are in no other
        figure as they were on their way at the end.
        """
        second = replace(NOTHING, duration=10**9)
        for sent, inFlightAtEnd, rate in (
            (101, 0, 100),
            (51, 50, 100),
            (0, 11, 10),
            (1, 0, 0),
            (0, 0, 0),
        ):
            result = replace(second, sent=sent, inFlightAtEnd=inFlightAtEnd)
            self.assertEqual(result.rate, rate)
        self.assertEqual(replace(second, duration=0).rate, 0)
