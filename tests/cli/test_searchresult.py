"""
Tests for L{shout.cli.searchresult}.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.searchresult import (
    mtuLines,
    mtuObject,
    nothingLine,
    rateLine,
    rateLines,
    rateObject,
    sizeLine,
)
from shout.measure.mtu import MTUResult
from shout.measure.rate import CEILING, LOSS, MACHINE, STOPPED, RateResult, Step
from shout.measure.search import SearchRunner
from shout.measure.target import Target
from tests.measure.fakes import LOSSY, RESULT, SLOW

TARGET = Target("a.example", "192.0.2.1", 9999)


class MTUTests(SynchronousTestCase):
    """
    Tests for L{mtuLines}.
    """

    def lines(self, *found: Any) -> list[str]:
        return mtuLines(MTUResult(*found), "nothing came back")

    def test_path(self) -> None:
        """
        The largest sizes and the path MTU have a line each.
        """
        self.assertEqual(
            self.lines(65507, 1372, 28, 65507),
            [
                "",
                "largest that comes back whole: 65507 bytes, the maximum",
                "largest that comes back unfragmented: 1372 bytes",
                "path MTU: 1400 bytes (28 of them headers)",
            ],
        )

    def test_atLeast(self) -> None:
        """
        If no larger datagram came back even in fragments, the path MTU may be larger.
        """
        for size in (65507, 1000):
            line = self.lines(size, size, 28, 65507)[-1]
            self.assertIn(f"at least {size + 28} bytes", line)

    def test_unknown(self) -> None:
        """
        A UNIX socket has no path MTU, and the path MTU of a network may be unknown.
        """
        self.assertEqual(len(self.lines(9, None, 0, 9)), 2)
        self.assertIn("cannot test it", self.lines(9, None, 28, 65507)[-1])

    def test_step(self) -> None:
        """
        The line for a step has the size, and its result.
        """
        self.assertEqual(sizeLine(64, True, True), "     64 bytes: came back")
        line = "     64 bytes unfragmented: did not come back"
        self.assertEqual(sizeLine(64, False, False), line)

    def test_nothing(self) -> None:
        """
        If nothing came back, there is no size.
        """
        self.assertEqual(
            self.lines(None, None, 28, 65507), ["", "nothing came back, of any size"]
        )


class RateTests(SynchronousTestCase):
    """
    Tests for L{rateLines} and L{rateLine}.
    """

    def last(self, steps: list[Step], best: float, limit: str) -> str:
        return rateLines(RateResult(steps, best, limit), "nothing came back")[-1]

    def test_curve(self) -> None:
        """
        There is a line per rate, from the lowest to the highest, with a bar for the
        loss, and a note if this machine was too slow.
        """
        half = replace(RESULT, answered=50, lost=50)
        steps = [Step(125, RESULT), Step(250, half), Step(187, LOSSY)]
        lines = rateLines(RateResult([*steps, Step(500, SLOW)], 125, LOSS), "")
        self.assertEqual(
            [line.split()[0] for line in lines[2:6]], ["125", "187", "250", "500"]
        )
        self.assertEqual([line.count("#") for line in lines[2:6]], [0, 1, 20, 0])
        self.assertTrue(lines[5].endswith("0 % this machine managed 99 per s"), lines)

    def test_best(self) -> None:
        """
        The result has the reason why there is no higher rate.
        """
        steps = [Step(125, RESULT)]
        for limit, why in (
            (LOSS, "datagrams get lost"),
            (CEILING, "--flood"),
            (STOPPED, "stopped"),
        ):
            line = self.last(steps, 125, limit)
            self.assertIn("highest rate without loss: 125 per s", line)
            self.assertIn(why, line)

    def test_notSudden(self) -> None:
        """
        If the loss hardly grows with the rate, the rate may not be its cause, and the
        result has a note.
        """
        best = Step(74, RESULT)
        for lost, isSudden in ((3, False), (20, False), (22, True), (50, True)):
            lossy = replace(RESULT, answered=100 - lost, lost=lost)
            steps = [Step(125, lossy), Step(100, LOSSY), best, Step(200, SLOW)]
            line = self.last(steps, 74, LOSS)
            self.assertEqual("may not be the cause" in line, not isSudden, line)

    def test_none(self) -> None:
        """
        Loss at any rate is distinguished from no reply at all.
        """
        self.assertIn("no rate", self.last([Step(125, LOSSY)], 0, LOSS))
        refused = replace(RESULT, answered=0)
        self.assertEqual(self.last([Step(125, refused)], 0, LOSS), "nothing came back")

    def test_stopped(self) -> None:
        """
        So is a search that was stopped before.
        """
        line = "stopped before any rate was known to be without loss"
        self.assertEqual(self.last([Step(125, LOSSY)], 0, STOPPED), line)
        self.assertEqual(rateLines(RateResult([], 0, STOPPED), ""), ["", line])

    def test_step(self) -> None:
        """
        The line for a step has the loss, and a note if this machine was too slow.
        """
        self.assertEqual(
            rateLine(Step(125, LOSSY)).strip(),
            "125 per s: 100 sent, 1 % not answered",
        )
        self.assertIn("this machine managed 99 per s", rateLine(Step(125, SLOW)))


class NothingTests(SynchronousTestCase):
    """
    Tests for L{nothingLine}.
    """

    def test_reasons(self) -> None:
        """
        The line has what came back instead of right replies, if anything.
        """
        runner = SearchRunner(Target("h", "192.0.2.1", 9999), None)
        self.assertEqual(nothingLine([runner]), "nothing came back")
        runner.icmpErrors["port unreachable", None] = 3
        self.assertEqual(nothingLine([runner]), "nothing came back: port unreachable")
        runner.kinds.update(echoed=2, garbage=1)
        self.assertEqual(
            nothingLine([runner]), "only wrong replies came back: 2 echoed, 1 garbage"
        )


class SearchTests(SynchronousTestCase):
    """
    Tests for L{rateObject} and L{mtuObject}.
    """

    def test_rate(self) -> None:
        """
        The rate comes with its limit and the steps of the search.
        """
        steps = [Step(125, replace(RESULT, answered=98, duration=10**9))]
        self.assertEqual(
            rateObject(TARGET, RateResult(steps, 125, MACHINE)),
            {
                "format": 1,
                "host": "a.example",
                "port": 9999,
                "rate": 125,
                "limit": "this machine",
                "steps": [{"rate": 125, "sent": 100, "answered": 98, "managed": 99.0}],
                "error": None,
            },
        )

    def test_sizes(self) -> None:
        """
        The sizes come with the path MTU, which is null if it is unknown.
        """
        for unfragmented, pathMTU, isAtLeast in (
            (1372, 1400, False),
            (None, None, False),
            (65507, 65535, True),
        ):
            self.assertEqual(
                mtuObject(TARGET, MTUResult(65507, unfragmented, 28, 65507)),
                {
                    "format": 1,
                    "host": "a.example",
                    "port": 9999,
                    "whole": 65507,
                    "unfragmented": unfragmented,
                    "path_mtu": pathMTU,
                    "path_mtu_at_least": isAtLeast,
                    "error": None,
                },
            )
