"""
Tests for L{shout.cli.charts}.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.cli.charts import histogramLines, liveTable, table
from shout.measure.target import Target
from tests.measure.fakes import LOSSY, RESULT, FakePing, histogramOf
from tests.properties import untimed


class HistogramTests(SynchronousTestCase):
    """
    Tests for L{histogramLines}.
    """

    @untimed
    @given(st.lists(st.integers(0, 2**40)), st.integers(0, 9), st.integers(0, 9))
    def test_all(self, times: list[int], lost: int, late: int) -> None:
        """
        Every reply and every loss is in one of a few short rows.
        """
        lines = histogramLines(histogramOf(times), lost, late)
        counts = [int(line.split("  ")[-2 if "#" in line else -1]) for line in lines]
        self.assertEqual(sum(counts), len(times) + lost + late)
        self.assertLessEqual(len(lines), 14)
        for line in lines:
            self.assertLess(len(line), 90)

    @untimed
    @given(st.lists(st.integers(0, 2**40)), st.integers(36, 200))
    def test_narrow(self, times: list[int], columns: int) -> None:
        """
        No row is wider than the terminal, and every row with a count has a bar.
        """
        for line in histogramLines(histogramOf(times), 3, 0, columns):
            self.assertLessEqual(len(line), columns)
            self.assertEqual("#" in line, not line.endswith("0"))

    def test_rows(self) -> None:
        """
        The row with the highest count has the longest bar; losses come last.
        """
        lines = histogramLines(histogramOf([10**6] * 8 + [2 * 10**6] * 4), 2, 0)
        self.assertEqual(len(lines), 3)
        self.assertEqual([line.count("#") for line in lines], [40, 20, 10])
        self.assertEqual(lines[2].split()[:2], ["lost", "2"])


class TableTests(SynchronousTestCase):
    """
    Tests for L{table}.
    """

    def test_table(self) -> None:
        """
        Each target has a row, with its columns under their names.
        """
        answered = replace(RESULT, roundTrips=histogramOf([10**6]).summarize())
        head, first, second, unit = table([answered, replace(RESULT, host="other")])
        self.assertEqual(len(head.split()), 12)
        self.assertIn("1.000", first)
        self.assertEqual(second.split()[-4:], ["-"] * 4)
        self.assertEqual(len({len(head), len(first), len(second)}), 1)
        self.assertEqual(unit, "round trips in ms")

    def test_order(self) -> None:
        """
        The worst target comes first: the one with the highest loss, and then the
        slowest one.
        """
        fast, slow = (
            replace(RESULT, host=f"{time}", roundTrips=histogramOf([time]).summarize())
            for time in (10**6, 10**7)
        )
        lossy = replace(fast, host="lossy", answered=99, lost=1)
        lines = table([fast, lossy, slow])
        names = [line.split()[0] for line in lines[1:4]]
        self.assertEqual(names, ["lossy", "10000000", "1000000"])

    def test_many(self) -> None:
        """
        On a terminal the best of many targets are left out.
        """
        results = [RESULT] * 100
        self.assertEqual(len(table(results)), 102)
        lines = table(results, 200)
        self.assertEqual(len(lines), 67)
        expected = "36 other servers, none of them worse, are left out"
        self.assertEqual(lines[-1], expected)

    def test_live(self) -> None:
        """
        During a measurement the worst targets have rows.
        """
        ping = FakePing(targets=3, flows=2, count=4, interval=0.1, timeout=0.1)
        for flow in (0, 1, 3, 4):
            ping.answer(flow, 0.002 if flow % 3 else 0.001)
        ping.start()
        ping.advance(2)
        targets = [Target(f"h{i}", f"h{i}", 9) for i in range(3)]
        lines = liveTable(targets, ping.session.flows, 2)
        self.assertEqual(lines[0].split(), ["server", "unanswered", "mean", "ms"])
        self.assertEqual(lines[1].split(), ["h2:9", "100", "%", "-"])
        self.assertEqual(lines[2].split(), ["h1:9", "0", "%", "2.000"])
        expected = "12 sent, 33.3 % unanswered, 1 of 3 servers without any answer"
        self.assertEqual(lines[3:], [expected])

    def test_liveEmpty(self) -> None:
        """
        A terminal without room for rows has a head and a line about all targets, before
        the first reply, too.
        """
        ping = FakePing(targets=2)
        lines = liveTable([Target("h", "h", 9)] * 2, ping.session.flows, -1)
        expected = "0 sent, 0 % unanswered, 0 of 2 servers without any answer"
        self.assertEqual(lines[1:], [expected])

    def test_narrow(self) -> None:
        """
        If that is too wide, each target has a column.
        """
        results = [RESULT, replace(RESULT, host="other")]
        lines = table(results)
        width = len(lines[0])
        self.assertEqual(table(results, width), lines)
        turned = table(results, width - 1)
        self.assertEqual(turned[1].split(), ["sent", "100", "100"])
        self.assertEqual(len(turned), 13)
        self.assertLess(len(turned[0]), 60)

    def test_narrowAndMany(self) -> None:
        """
        If that is too wide, too, figures are left out: first counts that are all 0.
        """
        answered = replace(LOSSY, roundTrips=histogramOf([10**6]).summarize())
        results = [answered] * 30
        wide = table(results)[0].split()
        for columns, missing in (
            (90, {"duplicates"}),
            (75, {"duplicates", "wrong", "refused"}),
            (55, {"duplicates", "wrong", "refused", "late", "min", "max"}),
            (1, {"duplicates", "wrong", "refused", "late", "min", "max", "p99"}),
        ):
            head, *lines = table(results, columns)
            self.assertEqual(head.split(), [x for x in wide if x not in missing])
            self.assertEqual(len(lines), 31)
            if columns > 1:
                self.assertLessEqual(len(head), columns)
