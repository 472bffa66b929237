"""
Tests for L{shout.measure.chance}.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, permutations
from math import comb, prod
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.chance import (
    LEVEL,
    differenceByChance,
    mostLikelySplit,
    silenceByChance,
)
from tests.properties import untimed

COUNTS = st.lists(
    st.integers(0, 3000).flatmap(
        lambda size: st.tuples(st.just(size), st.integers(0, size))
    ),
    min_size=1,
    max_size=40,
)


def outcomes(flows: int, size: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """
    Yield the numbers of hits of each flow, in descending order, and the number of ways
    in which these can be in the datagrams of the flows.
    """
    for hits in combinations_with_replacement(range(size, -1, -1), flows):
        orders = len({*permutations(hits)})
        yield hits, orders * prod(comb(size, each) for each in hits)


class DifferenceByChanceTests(SynchronousTestCase):
    """
    Tests for L{differenceByChance}.
    """

    def test_level(self) -> None:
        """
        A difference where there is none is found with at most the stated probability,
        whatever the share: all outcomes of some small measurements are weighed.
        """
        for flows, size in (2, 7), (2, 20), (2, 60), (3, 10), (4, 6), (5, 5):
            found = [
                (sum(hits), ways)
                for hits, ways in outcomes(flows, size)
                if differenceByChance((size, each) for each in hits) < LEVEL
            ]
            total = flows * size
            for percentage in range(1, 100):
                share = percentage / 100
                probability = sum(
                    ways * share**hits * (1 - share) ** (total - hits)
                    for hits, ways in found
                )
                self.assertLess(probability, LEVEL)

    def test_power(self) -> None:
        """
        Flows that differ clearly do so beyond chance, and those that nearly all results
        of equal flows are like do not.
        """
        for expected, counts in (
            (True, [(20, 20)] + [(20, 0)] * 31),
            (True, [(20, 3)] * 8 + [(20, 0)] * 24),
            (True, [(20, 9)] + [(20, 1)] * 255),
            (True, [(1000, 100)] * 2 + [(1000, 30)] * 30),
            (True, [(20, 0)] * 2 + [(20, 14)] * 30),
            (False, [(20, 1)] * 16 + [(20, 2)] * 8 + [(20, 0)] * 8),
            (False, [(1, 1)] * 500 + [(1, 0)] * 500),
            (False, [(3, 3)] * 2 + [(3, 1)] * 20 + [(3, 2)] * 10),
            (False, [(4, 4), (4, 0)]),
            (False, [(100_000, 1000), (100_000, 1060)]),
        ):
            self.assertEqual(differenceByChance(counts) < LEVEL, expected, counts[:9])

    def test_none(self) -> None:
        """
        If no datagrams or all of them have the property, there is no difference.
        """
        for counts in [], [(0, 0)], [(5, 0), (5, 0)], [(5, 5), (7, 7)]:
            self.assertEqual(differenceByChance(counts), 1)

    @untimed
    @given(COUNTS, st.randoms())
    def test_order(self, counts: list[tuple[int, int]], random: Random) -> None:
        """
        The order of the flows does not matter, and the result is a probability for any
        counts.
        """
        shuffled = [*counts]
        random.shuffle(shuffled)
        first, second = differenceByChance(counts), differenceByChance(shuffled)
        self.assertTrue(0 <= first <= 1)
        self.assertAlmostEqual(first, second)

    @untimed
    @given(st.integers(1, 3000), st.integers(0, 3000), st.integers(2, 300))
    def test_equal(self, size: int, hits: int, flows: int) -> None:
        """
        Flows with equal counts do not differ.
        """
        counts = [(size, min(size, hits))] * flows
        self.assertGreater(differenceByChance(counts), 0.1)

    def test_more(self) -> None:
        """
        The more the worst flow loses, the less probable is the difference.
        """
        for others in 0, 3, 50:
            counts = [(200, others)] * 30
            chances = [
                differenceByChance([*counts, (200, hits)])
                for hits in range(others + 5, 201, 5)
            ]
            self.assertEqual(chances, sorted(chances, reverse=True))
            self.assertLess(chances[-1], 1e-30)


class SilenceByChanceTests(SynchronousTestCase):
    """
    Tests for L{silenceByChance}.
    """

    def test_one(self) -> None:
        """
        For a single silent flow it is the product of the probabilities of each further
        loss, by the rule of succession, times the number of flows.
        """
        expected = 3 * (5 / 42) * (6 / 43) * (7 / 44)
        self.assertAlmostEqual(silenceByChance(1, 3, 2, 40, 4), expected)

    def test_more(self) -> None:
        """
        It decreases with the number of datagrams, and of silent flows, and increases
        with the loss of the others, up to 1.
        """
        base = silenceByChance(2, 10, 30, 300, 100)
        self.assertLess(silenceByChance(2, 12, 30, 300, 100), base)
        self.assertLess(silenceByChance(4, 10, 28, 300, 100), base)
        self.assertGreater(silenceByChance(2, 10, 30, 300, 130), base)
        self.assertEqual(silenceByChance(2, 10, 30, 300, 300), 1)


class MostLikelySplitTests(SynchronousTestCase):
    """
    Tests for L{mostLikelySplit}.
    """

    def test_groups(self) -> None:
        """
        The flows are split where the shares of both sides differ most.
        """
        for counts, expected in (
            ([(20, 4), (20, 3), (20, 1)] + [(20, 0)] * 20, 3),
            ([(50, 25), (50, 8)] + [(50, 6)] * 9 + [(50, 5)] * 9, 1),
            ([(50, 20)] * 30 + [(50, 2), (50, 1)], 30),
        ):
            self.assertEqual(mostLikelySplit(counts), expected)

    def test_equal(self) -> None:
        """
        Flows with equal shares stay together, also if they differ in size.
        """
        self.assertEqual(mostLikelySplit([(20, 10), (10, 5), (20, 0), (10, 0)]), 2)
        self.assertEqual(mostLikelySplit([(20, 10)] * 3), 0)
