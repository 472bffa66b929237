"""
Tests for L{shout.cli.found}.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.found import nothingLine, rateLines, sizeLines, stepLine
from shout.measure.mtu import MTUResult
from shout.measure.rate import CEILING, LOSS, STOPPED, RateResult, Step
from shout.measure.search import SearchRunner
from shout.measure.target import Target
from tests.measure.fakes import LOSSY, RESULT, SLOW


class SizeTests(SynchronousTestCase):
    """
    Tests for L{sizeLines}.
    """

    def lines(self, *found: Any) -> list[str]:
        return sizeLines(MTUResult(*found), "nothing came back")

    def test_path(self) -> None:
        """
        The largest sizes and the path MTU have a line each.
        """
        self.assertEqual(
            self.lines(65507, 1372, 28, 65507),
            [
                "",
                "largest that comes back whole: 65507 bytes, the most there can be",
                "largest that comes back unfragmented: 1372 bytes",
                "path MTU: 1400 bytes (28 of them headers)",
            ],
        )

    def test_atLeast(self) -> None:
        """
        When nothing larger comes back in fragments either, the path MTU may be
        larger than what is known of it.
        """
        for size in (65507, 1000):
            line = self.lines(size, size, 28, 65507)[-1]
            self.assertIn(f"at least {size + 28} bytes", line)

    def test_unknown(self) -> None:
        """
        A UNIX socket has no path MTU, and it may be unknown elsewhere.
        """
        self.assertEqual(len(self.lines(9, None, 0, 9)), 2)
        self.assertIn("this system cannot tell", self.lines(9, None, 28, 65507)[-1])

    def test_nothing(self) -> None:
        """
        When nothing came back there is no size.
        """
        self.assertEqual(
            self.lines(None, None, 28, 65507), ["", "nothing came back, of any size"]
        )


class RateTests(SynchronousTestCase):
    """
    Tests for L{rateLines} and L{stepLine}.
    """

    def last(self, steps: list[Step], best: float, limit: str) -> str:
        return rateLines(RateResult(steps, best, limit), "nothing came back")[-1]

    def test_curve(self) -> None:
        """
        The curve goes from the lowest rate to the highest, with a bar for what
        was not answered, and a note where this machine was too slow.
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
        It is said why there is no higher rate.
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
        Where little more is lost at a higher rate, the rate is not blamed.
        """
        best = Step(74, RESULT)
        for lost, isBlamed in ((3, False), (20, False), (22, True), (50, True)):
            lossy = replace(RESULT, answered=100 - lost, lost=lost)
            steps = [Step(125, lossy), Step(100, LOSSY), best, Step(200, SLOW)]
            line = self.last(steps, 74, LOSS)
            self.assertEqual("may not be the rate" in line, not isBlamed, line)

    def test_none(self) -> None:
        """
        That no rate was without loss is something else than that nothing came
        back.
        """
        self.assertIn("no rate", self.last([Step(125, LOSSY)], 0, LOSS))
        refused = replace(RESULT, answered=0)
        self.assertEqual(self.last([Step(125, refused)], 0, LOSS), "nothing came back")

    def test_stopped(self) -> None:
        """
        Nor is it known that there is none when the search was stopped before.
        """
        line = "stopped before any rate was known to be without loss"
        self.assertEqual(self.last([Step(125, LOSSY)], 0, STOPPED), line)
        self.assertEqual(rateLines(RateResult([], 0, STOPPED), ""), ["", line])

    def test_step(self) -> None:
        """
        A rate that was tried says what was not answered, and whether this
        machine could not send as fast.
        """
        self.assertEqual(
            stepLine(Step(125, LOSSY)).strip(),
            "125 per s: 100 sent, 1 % not answered",
        )
        self.assertIn("this machine managed 99 per s", stepLine(Step(125, SLOW)))


class NothingTests(SynchronousTestCase):
    """
    Tests for L{nothingLine}.
    """

    def test_reasons(self) -> None:
        """
        What came instead of right replies is said, as far as something did.
        """
        runner = SearchRunner(Target("h", "192.0.2.1", 9999), None)
        self.assertEqual(nothingLine(runner), "nothing came back")
        runner.icmpErrors["port unreachable"] = 3
        self.assertEqual(nothingLine(runner), "nothing came back: port unreachable")
        runner.kinds.update(echoed=2, garbage=1)
        self.assertEqual(
            nothingLine(runner), "only wrong replies came back: 2 echoed, 1 garbage"
        )
