"""
Tests for L{shout.measurement.charts}.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measurement.charts import histogram, table
from shout.ping import summarize
from tests.test_ping import tripsOf
from tests.test_rates import NOTHING


class HistogramTests(SynchronousTestCase):
    """
    Tests for L{histogram}.
    """

    @given(st.lists(st.integers(0, 2**40)), st.integers(0, 9), st.integers(0, 9))
    def test_all(self, times: list[int], lost: int, late: int) -> None:
        """
        Whatever came and did not come is in one of a few short rows.
        """
        lines = histogram(tripsOf(times), lost, late)
        counts = [int(line.split("  ")[-2 if "#" in line else -1]) for line in lines]
        self.assertEqual(sum(counts), len(times) + lost + late)
        self.assertLessEqual(len(lines), 14)
        for line in lines:
            self.assertLess(len(line), 90)

    def test_rows(self) -> None:
        """
        The longest bar is that of the most; the losses stand at the end.
        """
        lines = histogram(tripsOf([10**6] * 8 + [2 * 10**6] * 4), 2, 0)
        self.assertEqual(len(lines), 3)
        self.assertEqual([line.count("#") for line in lines], [40, 20, 10])
        self.assertEqual(lines[2].split()[:2], ["lost", "2"])


class TableTests(SynchronousTestCase):
    """
    Tests for L{table}.
    """

    def test_table(self) -> None:
        """
        There is a row for each target, with its columns under their names.
        """
        answered = replace(NOTHING, roundTrips=summarize(tripsOf([10**6])))
        head, first, second, unit = table([answered, replace(NOTHING, host="other")])
        self.assertEqual(len(head.split()), 12)
        self.assertIn("1.000", first)
        self.assertEqual(second.split()[-4:], ["-"] * 4)
        self.assertEqual(len({len(head), len(first), len(second)}), 1)
        self.assertEqual(unit, "round trips in ms")
