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

from shout.measure.histogram import Histogram
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

NOTHING = Result(
    host="h",
    address="192.0.2.1",
    port=9999,
    sent=100,
    answered=100,
    lost=0,
    duplicates=0,
    late=0,
    outOfOrder=0,
    wrong=0,
    kinds={},
    answeredWrong=0,
    refused=0,
    icmpErrors={},
    outOfWindow=0,
    histogram=Histogram(),
    roundTrips=None,
    jitter=None,
    duration=1,
    hasKernelTimes=True,
    skipped=0,
    kernelDrops=0,
    inFlightAtEnd=0,
)
LOSSY = replace(NOTHING, answered=99, lost=1)
SLOW = replace(NOTHING, duration=10**9, skipped=1)


class SearchTests(SynchronousTestCase):
    """
    Tests for L{search}.
    """

    def search(
        self, limit: float, beyond: Result = LOSSY, ceiling: float = HIGHEST
    ) -> RateResult:
        """
        Search where all goes well up to a limit.
        """

        async def attempt(rate: float) -> Step:
            self.assertLessEqual(rate, ceiling)
            return Step(rate, NOTHING if rate <= limit else beyond)

        return self.successResultOf(Deferred.fromCoroutine(search(attempt, ceiling)))

    @given(st.floats(10, 900_000))
    def test_found(self, limit: float) -> None:
        """
        The rate that is found is without loss, and less than a tenth below the
        limit, after a bounded number of steps.
        """
        found = self.search(limit)
        self.assertLessEqual(found.best, limit)
        self.assertLess(limit, 1.1 * found.best)
        self.assertEqual(found.limit, LOSS)
        self.assertLess(len(found.steps), 40)

    def test_doubles(self) -> None:
        """
        The rate is doubled until something is lost, which is tried once more;
        then the gap is halved.
        """
        rates = [step.rate for step in self.search(1200).steps]
        self.assertEqual(rates[:6], [125, 250, 500, 1000, 2000, 2000])
        self.assertEqual(rates[6:8], [1500, 1500])
        self.assertEqual(rates[8:10], [1250, 1250])

    def test_ceiling(self) -> None:
        """
        No rate above the ceiling is tried, and the ceiling itself is.
        """
        found = self.search(HIGHEST, ceiling=1000)
        self.assertEqual((found.best, found.limit), (1000, CEILING))

    def test_lowCeiling(self) -> None:
        """
        The ceiling may be below the rate that is usually the first.
        """
        self.assertEqual(self.search(HIGHEST, ceiling=20).best, 20)

    def test_machine(self) -> None:
        """
        What this machine cannot send is not put down to loss.
        """
        found = self.search(5000, SLOW)
        self.assertLessEqual(found.best, 5000)
        self.assertEqual(found.limit, MACHINE)

    def test_none(self) -> None:
        """
        Where even ten per second are lost, nothing is found.
        """
        found = self.search(1)
        self.assertEqual((found.best, found.limit), (0, LOSS))
        self.assertEqual(found.steps[-1].rate, 10)

    def test_steps(self) -> None:
        """
        A rate is not sent when this machine had no room for the replies, and not
        without loss when some are late, wrong or refused.
        """
        whole = replace(NOTHING, duration=10**9)
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
        Where nothing comes back at a higher rate, lower ones are tried on.
        """
        found = self.search(300, replace(NOTHING, answered=0, lost=100))
        self.assertLess(270, found.best)
        self.assertEqual(found.limit, LOSS)

    def test_nothing(self) -> None:
        """
        Where nothing comes back at all, no other rate is tried.
        """
        found = self.search(1, replace(NOTHING, answered=0, lost=100))
        self.assertEqual((found.best, len(found.steps)), (0, 2))

    def test_stopped(self) -> None:
        """
        When it is stopped, what was found so far stays.
        """

        async def attempt(rate: float) -> Step:
            if rate > 250:
                raise Stopped
            return Step(rate, NOTHING)

        found = self.successResultOf(Deferred.fromCoroutine(search(attempt)))
        self.assertEqual((found.best, found.limit), (250, STOPPED))
        self.assertEqual([step.rate for step in found.steps], [125, 250])

    def test_slow(self) -> None:
        """
        However low a rate is, two datagrams are sent, without which there is no
        rate.
        """
        plans: list[Schedule] = []

        class Recorded:
            async def measure(self, schedule: Schedule) -> Result:
                plans.append(schedule)
                return NOTHING

        runner: Any = Recorded()
        finding = findRate(runner, 56, 1.0, 1.0, lambda step: None)
        found = self.successResultOf(Deferred.fromCoroutine(finding))
        self.assertEqual((found.best, plans), (1.0, [Schedule(2, 1.0, 56, 1.0)]))

    def test_accident(self) -> None:
        """
        A single loss that does not happen again decides nothing.
        """
        seen: set[float] = set()

        async def attempt(rate: float) -> Step:
            isFirst = rate not in seen
            seen.add(rate)
            return Step(rate, LOSSY if isFirst else NOTHING)

        searching = Deferred.fromCoroutine(search(attempt, 1000))
        self.assertEqual(self.successResultOf(searching).best, 1000)
