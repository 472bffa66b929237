"""
Tests for L{shout.cli.verdict}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.verdict import verdictLines, verdictObject
from shout.measure.verdict import judge
from tests.measure.flows import makeFlow, makeFlows

SLOW = [15 + index / 100 for index in range(20)]

QUARTER = "(source ports 40001, 40005, 40009, 40013, 40017, 40021, 40025, 40029)"


class VerdictLinesTests(SynchronousTestCase):
    """
    Tests for L{verdictLines}.
    """

    def lines(self, count: int, figures: Callable[[int], dict[str, Any]]) -> list[str]:
        return verdictLines(judge(makeFlows(count, figures)))

    def quarter(
        self, hurt: dict[str, Any], healthy: dict[str, Any] | None = None
    ) -> list[str]:
        """
        Return the verdict on 32 flows of which every fourth one is hurt.
        """
        return self.lines(32, lambda index: (healthy or {}) if index % 4 else hurt)

    def test_alike(self) -> None:
        """
        Flows without loss and differences are alike.
        """
        line = (
            "All 32 flows are alike: none loses anything, median round trip 10.06 ms."
        )
        self.assertEqual(self.lines(32, lambda index: {}), [line])

    def test_range(self) -> None:
        """
        The medians of flows that are alike have a range.
        """
        (line,) = self.lines(2, lambda i: {"sent": 99, "times": [10 + i / 10] * 99})
        self.assertIn(
            "none loses anything, median round trips 10.00 to 10.10 ms.", line
        )

    def test_evenLoss(self) -> None:
        """
        Loss without a difference beyond chance is called that, and if the probes were
        too few, the number that is enough is stated.
        """
        first, second = self.lines(32, lambda index: {"lost": index % 3})
        self.assertEqual(
            first,
            "The 32 flows together lose 4.8 %, with no difference between flows beyond "
            "chance; median round trip 10.06 ms.",
        )
        self.assertRegex(
            second,
            r"^20 datagrams per flow are too few to tell if a quarter of the flows "
            r"loses 10 % more; about \d+ would do\.$",
        )

    def test_dead(self) -> None:
        """
        Flows without any answer are counted and named, and the loss of the others is
        stated.
        """
        text = (
            f"8 of 32 flows get no answer at all {QUARTER}; the other 24 lose "
            "{}. One or more of several parallel paths are down."
        )
        dead = {"lost": 20}
        self.assertEqual(self.quarter(dead), [text.format("nothing")])
        self.assertEqual(self.quarter(dead, {"lost": 1}), [text.format("5 %")])
        late = text.replace("lose {}", "have 5 % late")
        self.assertEqual(self.quarter(dead, {"late": 1}), [late])

    def test_manyPorts(self) -> None:
        """
        Of many source ports the first eight are named.
        """
        (line,) = self.lines(32, lambda index: {"lost": 20 * (index < 12)})
        self.assertIn("40007, 40008 and 4 more); the other 20 lose nothing.", line)

    def test_oneOfTwo(self) -> None:
        """
        A single flow on either side is spoken of in the singular.
        """
        (line,) = self.lines(2, lambda index: {"lost": 20 * index})
        self.assertEqual(
            line,
            "1 of 2 flows gets no answer at all (source port 40002); the other loses "
            "nothing. One or more of several parallel paths are down.",
        )

    def test_refused(self) -> None:
        """
        Flows that get ICMP errors alone are refused; the errors have their sender.
        """
        line = (
            f"8 of 32 flows are refused {QUARTER}: from 10.77.11.2: administratively "
            "prohibited; the other 24 lose nothing."
        )
        self.assertEqual(self.quarter({"refused": 20}), [line])
        # Routers limit the rate of errors.
        self.assertEqual(self.quarter({"refused": 2, "lost": 18}), [line])

    def test_partlyRefused(self) -> None:
        """
        If only some of the flows without an answer get ICMP errors, their number is
        stated.
        """
        (line,) = self.lines(
            32,
            lambda index: {"refused" if index % 8 else "lost": 0 if index % 4 else 20},
        )
        self.assertEqual(
            line,
            f"8 of 32 flows get no answer at all {QUARTER}, 4 of them with ICMP "
            "errors: from 10.77.11.2: administratively prohibited; the other 24 lose "
            "nothing.",
        )

    def test_lateAndWrong(self) -> None:
        """
        Flows with late or wrong replies only are named apart from silent ones.
        """
        kinds = "late", "answeredWrong", "lost", ""
        lines = self.lines(
            32, lambda index: {kinds[index % 4]: 20} if index % 4 < 3 else {}
        )
        self.assertEqual(
            [line.partition(" (")[0] for line in lines],
            [
                "8 of 32 flows get late replies only",
                "8 of 32 flows get wrong replies only",
                "8 of 32 flows get no answer at all",
            ],
        )
        self.assertIn("; the other 8 lose nothing. One or more", lines[2])

    def test_silent(self) -> None:
        """
        If no flow gets an answer, nothing is said about paths.
        """
        for figures, text in (
            ({"lost": 20}, "None of the 32 flows gets an answer."),
            (
                {"refused": 20},
                "None of the 32 flows gets an answer: from 10.77.11.2: "
                "administratively prohibited.",
            ),
            ({"late": 20}, "None of the 32 flows gets an answer in time."),
            ({"answeredWrong": 20}, "None of the 32 flows gets a right answer."),
        ):
            self.assertEqual(self.lines(32, lambda index: figures), [text])  # noqa: B023

    def test_lossy(self) -> None:
        """
        Flows that lose more than others are named with both percentages.
        """
        self.assertEqual(
            self.quarter({"sent": 100, "lost": 11}, {"sent": 100}),
            [
                f"8 of 32 flows lose 11 % {QUARTER}; the other 24 lose nothing, beyond "
                "chance (p < 0.001)."
            ],
        )
        self.assertEqual(
            self.quarter({"sent": 100, "lost": 20, "refused": 10}, {"sent": 100}),
            [
                f"8 of 32 flows have 30 % lost or refused {QUARTER}: from 10.77.11.2: "
                "administratively prohibited; the other 24 lose nothing, beyond chance "
                "(p < 0.001)."
            ],
        )

    def test_unclear(self) -> None:
        """
        If flows may be on either side, the number of probes that would tell is stated.
        """
        _, line = self.quarter({"lost": 3})
        self.assertRegex(
            line,
            r"^24 of 32 flows may belong to either group: 20 datagrams per flow are "
            r"too few to tell; about \d+ would do\.$",
        )

    def test_slow(self) -> None:
        """
        Slow flows are named with both medians; that no flow loses anything is stated
        as well.
        """
        self.assertEqual(
            self.quarter({"times": SLOW}),
            [
                "None of the 32 flows loses anything.",
                f"8 of 32 flows are slower {QUARTER}: a median round trip of 15.11 ms, "
                "and 10.06 ms on the other 24.",
            ],
        )

    def test_uneven(self) -> None:
        """
        Round trips that differ without two groups have their range.
        """
        lines = self.lines(
            32, lambda index: {"times": [10 + index / 5 + n / 50 for n in range(20)]}
        )
        self.assertEqual(
            lines[1],
            "Round trips differ between flows beyond chance (p < 0.001), but not in "
            "two groups: median round trips 10.19 to 16.35 ms.",
        )

    def test_combined(self) -> None:
        """
        Dead, lossy and slow flows have a sentence each.
        """
        kinds: list[dict[str, Any]] = [{"lost": 20}, {"lost": 8}, {"times": SLOW}, {}]
        dead, lossy, slow = self.lines(32, lambda index: kinds[index % 4])
        self.assertTrue(
            dead.endswith(" 40029). One or more of several parallel paths are down.")
        )
        self.assertTrue(
            lossy.startswith("8 of the other 24 flows lose 40 % (source ports 40002,")
        )
        self.assertTrue(
            lossy.endswith(
                "; the remaining 16 lose nothing, beyond chance (p < 0.001)."
            )
        )
        self.assertTrue(
            slow.startswith("8 of the other 24 flows are slower (source ports 40003,")
        )
        self.assertTrue(slow.endswith(" on the other 16."))

    def test_doubtful(self) -> None:
        """
        A flow whose silence may be chance is named, without a conclusion.
        """
        _, line = self.lines(32, lambda index: {"sent": 2, "lost": 0 if index else 2})
        self.assertEqual(
            line,
            "1 of 32 flows gets no answer (source port 40001), which may be chance: 2 "
            "datagrams per flow are too few to tell; about 3 would do.",
        )

    def test_few(self) -> None:
        """
        With very few probes the verdict says so, also if nothing is lost.
        """
        text = "datagrams per flow are too few to tell if {} flows loses 10 %; about"
        _, line = self.lines(32, lambda index: {"sent": 3})
        self.assertIn(f"3 {text.format('a quarter of the')} 9 would do.", line)
        _, line = self.lines(4, lambda index: {"sent": 3})
        self.assertIn(f"3 {text.format('one of the')} 66 would do.", line)
        _, unsent, line = self.lines(32, lambda index: {"sent": int(index < 20)})
        self.assertEqual(unsent, "12 of 32 flows sent nothing.")
        self.assertTrue(line.startswith("1 datagram per flow is too little to tell if"))

    def test_headers(self) -> None:
        """
        Flows whose replies arrive with another TTL or DSCP are named after the verdict.
        """
        *_, ttl, dscp = self.lines(
            9, lambda index: {"ttl": 61 + (index > 1), "tos": 184 * (index > 0)}
        )
        self.assertEqual(
            ttl,
            "Replies arrive with TTL 61 on 2 flows (source ports 40001, 40002) and 62 "
            "on the other 7: the ways back, or the hosts that answer, differ.",
        )
        self.assertEqual(
            dscp,
            "Replies come with DSCP 0 on 1 flow (source port 40001) and 46 (EF) on the "
            "other 8.",
        )

    def test_hopLimit(self) -> None:
        """
        IPv6 has a hop limit.
        """
        flows = [
            replace(makeFlow(40001 + index, ttl=61 + index), address="2001:db8::1")
            for index in range(3)
        ]
        line = verdictLines(judge(flows))[-1]
        self.assertTrue(line.startswith("Replies arrive with hop limit 61 on 1 flow ("))
        self.assertIn("(source port 40002) and 63 on another: ", line)

    def test_single(self) -> None:
        """
        A single flow has nothing to be compared with.
        """
        self.assertEqual(self.lines(1, lambda index: {}), [])
        self.assertEqual(verdictLines(judge([])), [])


class VerdictObjectTests(SynchronousTestCase):
    """
    Tests for L{verdictObject}.
    """

    def test_kinds(self) -> None:
        """
        The kind is that of the gravest difference.
        """
        cases: list[tuple[str, list[dict[str, Any]]]] = [
            ("no answer", [{"lost": 20}]),
            ("dead", [{"lost": 20}, {"lost": 8}, {"times": SLOW}, {}]),
            ("lossy", [{"lost": 8}, {}, {"times": SLOW}, {}]),
            ("slow", [{"times": SLOW}, {}]),
            ("uneven", [{"times": [10 + n] * 20} for n in range(8)]),
            ("doubtful", [{"sent": 1, "lost": 1}, {"sent": 1}]),
            ("alike", [{}, {"lost": 1}]),
        ]
        for kind, figures in cases:
            cycle = figures * 16
            flows = makeFlows(16, lambda index: cycle[index])  # noqa: B023
            self.assertEqual(verdictObject(judge(flows))["kind"], kind)
        self.assertEqual(verdictObject(judge([makeFlow()]))["kind"], "one flow")

    def test_fields(self) -> None:
        """
        The groups are lists of source ports.
        """
        kinds = {"lost": 20, "ttl": 62}, {"times": SLOW, "tos": 184}, {"ttl": 61}
        flows = makeFlows(9, lambda index: kinds[index % 3])
        fields = json.loads(json.dumps(verdictObject(judge(flows))))
        self.assertEqual(
            fields,
            {
                "kind": "dead",
                "level": 0.001,
                "dead": [40001, 40004, 40007],
                "doubtful": [],
                "lossy": [],
                "slow": [40002, 40005, 40008],
                "uneven_times": False,
                "needed": None,
                "ttls": [
                    {"ttl": 61, "source_ports": [40003, 40006, 40009]},
                    {"ttl": 62, "source_ports": [40002, 40005, 40008]},
                ],
                "dscps": [
                    {"dscp": 0, "source_ports": [40003, 40006, 40009]},
                    {"dscp": 46, "source_ports": [40002, 40005, 40008]},
                ],
            },
        )
