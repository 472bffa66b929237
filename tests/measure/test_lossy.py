"""
Tests for L{shout.measure.lossy}.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.lossy import Flows, LossGroups, compareLoss, missing, without
from tests.measure.flows import FIRST_PORT, makeFlow, makeFlows
from tests.properties import untimed


def compare(size: int, losses: Sequence[int]) -> LossGroups:
    """
    Compare flows that send equal numbers of probes.
    """
    flows = tuple(
        makeFlow(FIRST_PORT + index, size, lost, times=[])
        for index, lost in enumerate(losses)
    )
    alive = tuple(flow for flow in flows if flow.answered)
    return compareLoss(flows, alive, without(flows, alive))


def indices(flows: Flows) -> list[int]:
    return [(flow.sourcePort or 0) - FIRST_PORT for flow in flows]


class CompareLossTests(SynchronousTestCase):
    """
    Tests for L{compareLoss}.
    """

    def test_dead(self) -> None:
        """
        Flows without an answer are dead if the others lose little or nothing.
        """
        for size, losses, dead in (
            (20, [20, 0, 0, 0] * 8, 8),
            (20, [20, 1, 0, 2] * 8, 8),
            (20, [0] * 31 + [20], 1),
            (20, [20] * 31 + [0], 31),
            (8, [8, 0], 1),
            (3, [3, 0, 0, 0] * 8, 8),
        ):
            found = compare(size, losses)
            self.assertEqual(len(found.dead), dead, losses)
            self.assertEqual((found.lossy, found.doubtful), ((), ()))

    def test_doubtful(self) -> None:
        """
        With few probes, or much loss, silence can be chance; the number of probes that
        would tell is stated.
        """
        for size, losses, doubtful in (
            (1, [1, 0] * 16, 16),
            (2, [2] + [0] * 31, 1),
            (5, [5, 0], 1),
            (4, [4, 4, 3, 3, 2, 2, 1, 3] * 4, 8),
        ):
            found = compare(size, losses)
            self.assertEqual(len(found.doubtful), doubtful, losses)
            self.assertEqual((found.dead, found.lossy), ((), ()))
            self.assertIsNotNone(found.needed)
            assert found.needed is not None
            self.assertGreater(found.needed, size)

    def test_needed(self) -> None:
        """
        As many probes as are needed make a silent flow dead.
        """
        for count in 2, 4, 32, 500:
            needed = compare(1, [1] + [0] * (count - 1)).needed
            assert needed is not None
            found = compare(needed, [needed] + [0] * (count - 1))
            self.assertEqual(indices(found.dead), [0])

    def test_lossy(self) -> None:
        """
        Flows that lose more than others are found, and may be the larger part.
        """
        for size, losses, lossy in (
            (20, [3, 0, 0, 0] * 8, 8),
            (40, [4, 0, 0, 0, 5, 0, 1, 0] * 4, 8),
            (1000, [100] + [10] * 15, 1),
            (100, [0] + [30] * 15, 15),
        ):
            found = compare(size, losses)
            self.assertEqual(len(found.lossy), lossy)
            self.assertEqual((found.dead, found.doubtful), ((), ()))

    def test_deadAndLossy(self) -> None:
        """
        Some flows can be dead and others lossy.
        """
        found = compare(20, [20, 5, 0, 0] * 8)
        self.assertEqual(indices(found.dead), [*range(0, 32, 4)])
        self.assertEqual(indices(found.lossy), [*range(1, 32, 4)])

    def test_silentAmongLossy(self) -> None:
        """
        A flow without an answer is not dead beside others that lose nearly as much, but
        one of the lossy flows.
        """
        found = compare(6, [6, 5, 5, 4, 5, 4, 5, 5] + [0] * 24)
        self.assertEqual(indices(found.lossy), [*range(8)])
        self.assertEqual((found.dead, found.doubtful), ((), ()))

    def test_even(self) -> None:
        """
        Loss that differs no more than by chance is even.
        """
        for size, losses in (
            (20, [1, 2, 0, 1, 0, 3, 0, 1] * 4),
            (20, [0] * 32),
            (20, [1] + [0] * 31),
            (1000, [50, 61, 44, 55, 39, 52, 48, 57]),
        ):
            found = compare(size, losses)
            self.assertEqual((found.dead, found.lossy, found.doubtful), ((), (), ()))

    def test_neededForLoss(self) -> None:
        """
        If loss is even, the number of probes is stated with which a difference would
        show, unless there were as many; without any loss they are fewer.
        """
        few = compare(20, [1, 2, 0, 1, 0, 3, 0, 1] * 4).needed
        assert few is not None
        self.assertTrue(50 < few < 200)
        self.assertIsNone(compare(few, [few // 20] * 32).needed)
        self.assertEqual(compare(3, [0] * 32).needed, 9)
        self.assertIsNone(compare(9, [0] * 32).needed)

    def test_neverEnough(self) -> None:
        """
        No number is stated if it would be beyond reason.
        """
        self.assertIsNone(compare(100_000, [50_000, 50_100]).needed)

    def test_unclear(self) -> None:
        """
        Flows that may be on either side are stated, and more probes make them fewer.
        """
        found = compare(40, [7, 0, 0, 0] * 7 + [1, 0, 0, 0])
        self.assertEqual(indices(found.unclear), [28])
        found = compare(20, [3, 0, 0, 0] * 8)
        self.assertEqual(len(found.unclear), 24)
        assert found.needed is not None
        found = compare(found.needed, [found.needed // 7, 0, 0, 0] * 8)
        self.assertEqual((found.unclear, found.needed), ((), None))

    @untimed
    @given(
        st.integers(1, 60).flatmap(
            lambda size: st.tuples(
                st.just(size), st.lists(st.integers(0, size), min_size=1, max_size=40)
            )
        )
    )
    def test_groups(self, measurement: tuple[int, list[int]]) -> None:
        """
        A flow is in at most one group, flows with equal counts are in the same, and
        those in a group lose at least as much as those in none.
        """
        size, losses = measurement
        if min(losses) == size:
            losses.append(0)
        found = compare(size, losses)
        hurt = indices((*found.dead, *found.doubtful, *found.lossy))
        self.assertEqual(len(hurt), len({*hurt}))
        for group in found.dead, found.lossy:
            lost = {losses[index] for index in indices(group)}
            same = [index for index, each in enumerate(losses) if each in lost]
            self.assertEqual(indices(group), same)
        if found.dead or found.lossy:
            others = [each for index, each in enumerate(losses) if index not in {*hurt}]
            self.assertGreater(
                min(losses[index] for index in hurt), max(others, default=-1)
            )


class MissingTests(SynchronousTestCase):
    """
    Tests for L{missing}.
    """

    def test_kinds(self) -> None:
        """
        Probes lost, late, refused or answered wrong are all without the right reply in
        time.
        """
        figures = {"lost": 1, "late": 2, "refused": 3, "answeredWrong": 4}
        self.assertEqual(missing(makeFlows(2, lambda index: figures)), 20)
