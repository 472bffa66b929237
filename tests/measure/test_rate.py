"""
Tests for L{shout.measure.rate}.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.rate import (
    CEILING,
    HIGHEST,
    LOSS,
    MACHINE,
    STOPPED,
    RateResult,
    Step,
    findRate,
    search,
)
from shout.measure.result import Result
from shout.measure.schedule import Schedule
from shout.measure.search import Stopped
from tests.measure.fakes import LOSSY, RESULT, SLOW
from tests.properties import untimed


class SearchTests(SynchronousTestCase):
    """
    Tests for L{search}.
    """

    def search(
        self, limit: float, beyond: Result = LOSSY, ceiling: float = HIGHEST
    ) -> RateResult:
        """
        Search where there is no loss up to a limit, and C{beyond} above it.
        """

        async def attempt(rate: float) -> Step:
            self.assertLessEqual(rate, ceiling)
            return Step(rate, RESULT if rate <= limit else beyond)

        return self.successResultOf(Deferred.fromCoroutine(search(attempt, ceiling)))

    @untimed
    @given(st.floats(10, 900_000))
    def test_found(self, limit: float) -> None:
        """
        The rate found is without loss, and less than a tenth below the limit.  The
        number of steps is bounded.
        """
        found = self.search(limit)
        self.assertLessEqual(found.best, limit)
        self.assertLess(limit, 1.1 * found.best)
        self.assertEqual(found.limit, LOSS)
        self.assertLess(len(found.steps), 40)

    def test_doubles(self) -> None:
        """
        The rate is doubled until there is loss; then the gap is halved.  Each rate
        with loss is tried twice.
        """
        rates = [step.rate for step in self.search(1200).steps]
        self.assertEqual(rates[:6], [125, 250, 500, 1000, 2000, 2000])
        self.assertEqual(rates[6:8], [1500, 1500])
        self.assertEqual(rates[8:10], [1250, 1250])

    def test_ceiling(self) -> None:
        """
        The ceiling is the highest rate tried.
        """
        found = self.search(HIGHEST, ceiling=1000)
        self.assertEqual((found.best, found.limit), (1000, CEILING))

    def test_lowCeiling(self) -> None:
        """
        The ceiling may be below the usual first rate.
        """
        self.assertEqual(self.search(HIGHEST, ceiling=20).best, 20)

    def test_machine(self) -> None:
        """
        If this machine cannot send at a rate, the limit is not loss.
        """
        found = self.search(5000, SLOW)
        self.assertLessEqual(found.best, 5000)
        self.assertEqual(found.limit, MACHINE)

    def test_lossEverywhere(self) -> None:
        """
        If there is loss even at ten per second, no rate is found.
        """
        found = self.search(1)
        self.assertEqual((found.best, found.limit), (0, LOSS))
        self.assertEqual(found.steps[-1].rate, 10)

    def test_step(self) -> None:
        """
        A rate with replies dropped by the kernel counts as not sent.  One with late,
        wrong or refused probes does not count as without loss.
        """
        whole = replace(RESULT, duration=10**9)
        self.assertEqual((Step(99, whole).isSent, Step(99, whole).isWhole), (True,) * 2)
        self.assertFalse(Step(99, replace(whole, kernelDrops=1)).isSent)
        self.assertFalse(Step(105, whole).isSent)
        for other in (
            replace(whole, answered=99, late=1),
            replace(whole, answered=99, answeredWrong=1),
            replace(whole, answered=99, refused=1),
        ):
            self.assertFalse(Step(99, other).isWhole)

    def test_nothingAbove(self) -> None:
        """
        If nothing comes back at a higher rate, lower rates are still tried.
        """
        found = self.search(300, replace(RESULT, answered=0, lost=100))
        self.assertLess(270, found.best)
        self.assertEqual(found.limit, LOSS)

    def test_nothingAnswered(self) -> None:
        """
        If nothing comes back at the first rate, no other is tried.
        """
        found = self.search(1, replace(RESULT, answered=0, lost=100))
        self.assertEqual((found.best, len(found.steps)), (0, 2))

    def test_stopped(self) -> None:
        """
        A search that is stopped returns the best rate so far.
        """

        async def attempt(rate: float) -> Step:
            if rate > 250:
                raise Stopped
            return Step(rate, RESULT)

        found = self.successResultOf(Deferred.fromCoroutine(search(attempt)))
        self.assertEqual((found.best, found.limit), (250, STOPPED))
        self.assertEqual([step.rate for step in found.steps], [125, 250])

    def test_lowRate(self) -> None:
        """
        At least two probes are sent at any rate, because fewer have no rate.
        """
        schedules: list[Schedule] = []

        class FakeRunner:
            async def measure(self, schedule: Schedule) -> Result:
                schedules.append(schedule)
                return RESULT

        runner: Any = FakeRunner()
        search = findRate(runner, 56, 1.0, 1.0, lambda step: None)
        found = self.successResultOf(Deferred.fromCoroutine(search))
        self.assertEqual((found.best, schedules), (1.0, [Schedule(2, 1.0, 56, 1.0)]))

    def test_accident(self) -> None:
        """
        A loss that does not happen again is ignored.
        """
        seen: set[float] = set()

        async def attempt(rate: float) -> Step:
            isFirst = rate not in seen
            seen.add(rate)
            return Step(rate, LOSSY if isFirst else RESULT)

        searching = Deferred.fromCoroutine(search(attempt, 1000))
        self.assertEqual(self.successResultOf(searching).best, 1000)
