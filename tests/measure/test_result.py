"""
Tests for L{shout.measure.result}.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.measure.fakes import RESULT
from tests.properties import untimed


class ResultTests(SynchronousTestCase):
    """
    Tests for L{Result<shout.measure.result.Result>}.
    """

    @untimed
    @given(st.integers(1, 10**12), st.integers(0, 10**12))
    def test_percentages(self, sent: int, count: int) -> None:
        """
        The percentages unanswered and lost are exact to the nearest float, so that
        30 % does not exceed a limit of 30 %.
        """
        missing = min(count, sent)
        result = replace(RESULT, sent=sent, answered=sent - missing, lost=missing)
        expected = float(Fraction(100 * missing, sent))
        self.assertEqual((result.unanswered, result.loss), (expected, expected))

    def test_nothingSent(self) -> None:
        """
        If nothing was sent, the percentages are 0.
        """
        result = replace(RESULT, sent=0, answered=0)
        self.assertEqual((result.unanswered, result.loss), (0, 0))

    def test_rate(self) -> None:
        """
        The rate includes the probes in flight at the end, which are in no other
        figure.
        """
        second = replace(RESULT, duration=10**9)
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
