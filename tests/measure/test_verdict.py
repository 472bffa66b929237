"""
Tests for L{shout.measure.verdict}.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.lossy import Flows
from shout.measure.result import Result
from shout.measure.verdict import Comparison, comparisons, judge
from tests.measure.flows import FIRST_PORT, makeFlow, makeFlows
from tests.properties import untimed

SLOW = [15 + index / 100 for index in range(20)]


def ports(flows: Flows) -> list[int]:
    return [flow.sourcePort or 0 for flow in flows]


def mixed(index: int) -> dict[str, Any]:
    """
    Return the figures of flows of which a quarter each is dead, lossy, slow, and
    healthy.
    """
    kinds: list[dict[str, Any]] = [{"lost": 20}, {"lost": 8}, {"times": SLOW}, {}]
    return kinds[index % 4]


@st.composite
def results(draw: st.DrawFn) -> list[Result]:
    """
    Return the results of some flows with any counts and times.
    """
    flows = []
    for index in range(draw(st.integers(0, 12))):
        sent = draw(st.integers(0, 30))
        lost = draw(st.integers(0, sent))
        median = draw(st.sampled_from([1.0, 5.0, 5.05, 5.5, 80.0]))
        times = [median * (1 + number / 100) for number in range(sent - lost)]
        flows.append(
            makeFlow(
                FIRST_PORT + index,
                sent,
                lost,
                times=times,
                ttl=draw(st.sampled_from([None, 62, 63])),
                tos=draw(st.sampled_from([None, 0, 2, 184])),
            )
        )
    return flows


class JudgeTests(SynchronousTestCase):
    """
    Tests for L{judge}.
    """

    def test_alike(self) -> None:
        """
        Flows without differences are alike.
        """
        verdict = judge(makeFlows(32, lambda index: {}))
        self.assertTrue(verdict.isAlike)
        self.assertFalse(verdict.isSilent)
        self.assertEqual(len(verdict.flows), 32)
        self.assertEqual(comparisons(verdict), [])

    def test_mixed(self) -> None:
        """
        Dead, lossy and slow flows are told apart.
        """
        verdict = judge(makeFlows(32, mixed))
        for index, group in enumerate((verdict.dead, verdict.lossy, verdict.slow)):
            self.assertEqual(ports(group), [*range(FIRST_PORT + index, 40033, 4)])
        self.assertFalse(verdict.isAlike or verdict.isSilent)

    def test_silent(self) -> None:
        """
        If no flow has an answer, this is no difference between flows.
        """
        verdict = judge(makeFlows(3, lambda index: {"lost": 20}))
        self.assertTrue(verdict.isSilent)
        self.assertEqual(comparisons(verdict), [])

    def test_unsent(self) -> None:
        """
        Flows that sent nothing are not judged.
        """
        flows = makeFlows(9, lambda index: {"sent": 10 * (index < 5)})
        verdict = judge(flows)
        self.assertEqual(verdict.flows, tuple(flows[:5]))
        self.assertEqual(verdict.unsent, tuple(flows[5:]))
        self.assertEqual(judge([]).flows, ())

    def test_headers(self) -> None:
        """
        Flows are grouped by TTL and DSCP, but not by the bits of ECN.
        """
        verdict = judge(
            makeFlows(
                6,
                lambda index: {
                    "ttl": [61, 62, None][index % 3],
                    "tos": [184, 185, 0][index // 2],
                },
            )
        )
        self.assertEqual(
            {ttl: ports(flows) for ttl, flows in verdict.ttls.items()},
            {61: [40001, 40004], 62: [40002, 40005]},
        )
        self.assertEqual(
            {dscp: ports(flows) for dscp, flows in verdict.dscps.items()},
            {0: [40005, 40006], 46: [40001, 40002, 40003, 40004]},
        )
        same = judge(makeFlows(6, lambda index: {"ttl": None if index else 62}))
        self.assertEqual((same.ttls, same.dscps), ({}, {}))

    @untimed
    @given(results(), st.randoms())
    def test_order(self, flows: list[Result], random: Random) -> None:
        """
        The order of the flows does not matter.
        """
        shuffled = [*flows]
        random.shuffle(shuffled)
        self.assertEqual(judge(flows), judge(shuffled))

    @untimed
    @given(results())
    def test_groups(self, flows: list[Result]) -> None:
        """
        Any flows have a verdict, and each is in at most one group by loss.
        """
        verdict = judge(flows)
        judged = {*ports(verdict.flows)}
        self.assertEqual(len(verdict.flows) + len(verdict.unsent), len(flows))
        grouped = ports((*verdict.dead, *verdict.doubtful, *verdict.lossy))
        self.assertEqual(len({*grouped}), len(grouped))
        self.assertLessEqual({*grouped, *ports(verdict.slow)}, judged)
        if verdict.slow:
            self.assertLess(len(verdict.slow), len(judged))
        for each in comparisons(verdict):
            self.assertTrue(each.hurt and each.healthy)
            self.assertFalse(each.hurt & each.healthy)

    @untimed
    @given(st.integers(2, 40), st.integers(1, 50), st.integers(0, 50))
    def test_identical(self, count: int, sent: int, lost: int) -> None:
        """
        Identical flows are alike, or all silent.
        """
        lost = min(sent, lost)
        verdict = judge(makeFlows(count, lambda index: {"sent": sent, "lost": lost}))
        self.assertEqual(verdict.isAlike, lost < sent)
        self.assertEqual(verdict.isSilent, lost == sent)


class ComparisonsTests(SynchronousTestCase):
    """
    Tests for L{comparisons}.
    """

    def test_kinds(self) -> None:
        """
        Each kind of hurt flows is compared with the flows that are healthy.
        """
        verdict = judge(makeFlows(32, mixed))
        healthy = frozenset(range(FIRST_PORT + 3, 40033, 4))
        kinds = "without an answer", "with loss", "with longer round trips"
        self.assertEqual(
            comparisons(verdict),
            [
                Comparison(kind, frozenset(range(FIRST_PORT + n, 40033, 4)), healthy)
                for n, kind in enumerate(kinds)
            ],
        )

    def test_unclear(self) -> None:
        """
        Flows that may be hurt or not are not compared.
        """
        losses = [8, 0, 0, 0] * 7 + [1, 0, 0, 0]
        flows = makeFlows(32, lambda index: {"sent": 60, "lost": losses[index]})
        verdict = judge(flows)
        self.assertEqual(ports(verdict.unclear), [40029])
        (comparison,) = comparisons(verdict)
        self.assertEqual(len(comparison.hurt), 7)
        self.assertEqual(len(comparison.healthy), 24)
