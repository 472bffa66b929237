"""
Tests for L{shout.measure.slow}.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.result import Result
from shout.measure.slow import compareTimes
from tests.measure.flows import FIRST_PORT, makeFlow

TimesOf = Callable[[int, Random], float]


def flowsWith(flows: int, size: int, timesOf: TimesOf, seed: int = 1) -> list[Result]:
    """
    Return flows with round trips.

    @param size: Number of round trips of each.

    @param timesOf: A function that returns a round trip in milliseconds, for the index
        of a flow and a source of random numbers.
    """
    random = Random(seed)
    return [
        makeFlow(
            FIRST_PORT + index,
            size,
            times=[timesOf(index, random) for _ in range(size)],
        )
        for index in range(flows)
    ]


class CompareTimesTests(SynchronousTestCase):
    """
    Tests for L{compareTimes}.
    """

    def slow(self, flows: int, size: int, timesOf: TimesOf) -> list[int]:
        """
        Return the indices of the slow flows.
        """
        slow, isUneven = compareTimes(flowsWith(flows, size, timesOf))
        self.assertFalse(isUneven)
        return [(flow.sourcePort or 0) - FIRST_PORT for flow in slow]

    def test_slow(self) -> None:
        """
        Flows with longer round trips are found, if they are many or few.
        """

        def timesOf(index: int, random: Random) -> float:
            return (15 if index in slow else 10) + random.uniform(0, 0.5)

        for slow in {0}, {*range(0, 32, 4)}, {*range(28)}, {7, 9}:
            for size in 5, 20, 200:
                self.assertEqual(self.slow(32, size, timesOf), sorted(slow))
        slow = {1}
        self.assertEqual(self.slow(2, 20, timesOf), [1])

    def test_jitter(self) -> None:
        """
        Slow flows are found among round trips that vary by as much, with enough of
        them.
        """

        def timesOf(index: int, random: Random) -> float:
            return (15 if index < 8 else 10) + random.uniform(-3, 3)

        self.assertEqual(self.slow(32, 80, timesOf), [*range(8)])

    def test_extremes(self) -> None:
        """
        A few extreme round trips, and a single flow with extreme ones, do not hide two
        groups of flows.
        """

        def timesOf(index: int, random: Random) -> float:
            extreme = random.random() < 0.1 or index == 31
            return (15 if index < 8 else 10) + random.random() + (80 if extreme else 0)

        self.assertEqual(self.slow(32, 20, timesOf), [*range(8), 31])

    def test_alike(self) -> None:
        """
        Flows with the same distribution of round trips are alike, whatever it is.
        """
        distributions: list[TimesOf] = [
            lambda _, random: random.uniform(7, 13),
            lambda _, random: random.choice([10, 15]) + random.random() / 10,
            lambda _, random: 0.05 + random.expovariate(10),
            lambda _, random: 0.2 * random.paretovariate(1.2),
            lambda _, random: 100 + random.gauss(0, 0.1),
        ]
        for distribution in distributions:
            for count, size in (2, 5), (2, 100), (32, 3), (32, 20), (200, 6):
                for seed in range(5):
                    flows = flowsWith(count, size, distribution, seed)
                    self.assertEqual(compareTimes(flows), ((), False))

    def test_uneven(self) -> None:
        """
        Flows whose round trips differ gradually are uneven, but none is slow.
        """

        def timesOf(index: int, random: Random) -> float:
            return 10 + 5 * index / count + random.random()

        for count in 4, 8, 32, 200:
            flows = flowsWith(count, 20, timesOf)
            self.assertEqual(compareTimes(flows), ((), True))

    def test_small(self) -> None:
        """
        Differences below 0.2 ms or 2 % do not count; without two groups, those below
        1 ms or 10 %.
        """

        for base, longer in (0.2, 0.38), (100, 101.5):
            times = [[longer if index < 8 else base] * 50 for index in range(32)]
            flows = [makeFlow(port, 50, times=each) for port, each in enumerate(times)]
            self.assertEqual(compareTimes(flows), ((), False))
        for base, step, expected in (1, 0.02, False), (1, 0.1, True), (50, 0.1, False):
            times = [[base + step * index] * 50 for index in range(32)]
            flows = [makeFlow(port, 50, times=each) for port, each in enumerate(times)]
            self.assertEqual(compareTimes(flows), ((), expected))

    def test_few(self) -> None:
        """
        Too few round trips, or a single flow with any, show nothing.
        """

        def timesOf(index: int, _: Random) -> float:
            return 15 if index < 8 else 10

        self.assertEqual(compareTimes(flowsWith(32, 3, timesOf)), ((), False))
        self.assertEqual(compareTimes(flowsWith(1, 20, timesOf)), ((), False))
        self.assertEqual(compareTimes([]), ((), False))
        silent = makeFlow(1, lost=20)
        self.assertEqual(
            compareTimes([*flowsWith(1, 20, timesOf), silent]), ((), False)
        )

    def test_stall(self) -> None:
        """
        Delays of several successive round trips, on flows beside each other, do not
        make these flows slow.
        """
        flows = []
        for index in range(128):
            stalls = sum(start <= index < start + 50 for start in (10, 40, 45))
            times = [9] * stalls + [1] * (5 - stalls)
            flows.append(makeFlow(FIRST_PORT + index, 5, times=times))
        self.assertEqual(compareTimes(flows), ((), False))
