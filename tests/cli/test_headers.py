"""
Tests for L{shout.cli.headers}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.headers import TTLNotes, tosLines, ttlLines
from shout.measure.result import LOST, REPLY, Event, Result
from shout.measure.target import Target
from shout.udp.timestamps import IPHeader
from tests.measure.fakes import RESULT

EF = 184


def flowsOf(
    *counts: tuple[Mapping[int | None, int], Mapping[int | None, int]],
) -> list[Result]:
    """
    Return flows from port 40001 on, with the numbers of replies by TTL and by TOS.
    """
    return [
        replace(RESULT, sourcePort=port, ttls=ttls, toses=toses)
        for port, (ttls, toses) in enumerate(counts, 40001)
    ]


class TTLNotesTests(SynchronousTestCase):
    """
    Tests for L{TTLNotes}.
    """

    def notesOf(self, address: str, *replies: tuple[int | None, int, int]) -> list[str]:
        """
        Return the notes about replies with a TTL, a source port and a target each.
        """
        notes = TTLNotes()
        target = Target("h", address, 9999)
        return [
            notes.note(
                Event(REPLY, 1, sourcePort=port, header=IPHeader(ttl)), target, index
            )
            for ttl, port, index in replies
        ]

    def test_change(self) -> None:
        """
        A reply with another TTL than the one before has a note.
        """
        replies = [(ttl, 1, 0) for ttl in (62, 62, 61, 61, 62)]
        self.assertEqual(
            self.notesOf("192.0.2.1", *replies),
            ["", "", " (TTL was 62)", "", " (TTL was 61)"],
        )
        self.assertEqual(
            self.notesOf("2001:db8::1", *replies)[2], " (hop limit was 62)"
        )

    def test_flows(self) -> None:
        """
        Flows and targets may have paths of different lengths.
        """
        replies = [(62, 1, 0), (61, 2, 0), (60, 1, 1), (62, 1, 0), (63, 2, 0)]
        self.assertEqual(
            self.notesOf("192.0.2.1", *replies), ["", "", "", "", " (TTL was 61)"]
        )

    def test_unknown(self) -> None:
        """
        Without a reply, or if its TTL is unknown, there is no note, and the TTL before
        is kept.
        """
        replies = [(62, 1, 0), (None, 1, 0), (61, 1, 0)]
        self.assertEqual(self.notesOf("192.0.2.1", *replies), ["", "", " (TTL was 62)"])
        target = Target("h", "192.0.2.1", 9999)
        self.assertEqual(TTLNotes().note(Event(LOST, 1), target, 0), "")


class TTLLinesTests(SynchronousTestCase):
    """
    Tests for L{ttlLines}.
    """

    def test_same(self) -> None:
        """
        If all replies have one TTL, or it is unknown, there is no line.
        """
        same: list[dict[int | None, int]]
        same = [{}, {None: 3}, {62: 3}, {62: 3, None: 1}]
        for ttls in same:
            self.assertEqual(ttlLines(replace(RESULT, ttls=ttls)), [])

    def test_changed(self) -> None:
        """
        Otherwise each TTL has its number of replies, the most frequent one first.
        """
        result = replace(RESULT, ttls={61: 10, 62: 30, None: 2})
        line = "replies arrived with TTL 62 (30) and 61 (10)"
        self.assertEqual(ttlLines(result), [line])
        result = replace(result, address="2001:db8::1", ttls={61: 3, 62: 2, 60: 1})
        line = "replies arrived with hop limit 61 (3), 62 (2) and 60 (1)"
        self.assertEqual(ttlLines(result), [line])

    def test_flows(self) -> None:
        """
        The flows with another TTL than most are named.
        """
        flows = flowsOf(({62: 10}, {}), ({61: 9, 62: 1}, {}), ({62: 10}, {}))
        result = replace(RESULT, ttls={62: 21, 61: 9}, flows=flows)
        line = "replies arrived with TTL 62 (21) and 61 (9: source port 40002)"
        self.assertEqual(ttlLines(result), [line])


class TOSLinesTests(SynchronousTestCase):
    """
    Tests for L{tosLines}.
    """

    def lines(self, toses: Mapping[int | None, int], sent: int = EF) -> list[str]:
        return tosLines(replace(RESULT, toses=toses), sent)

    def test_same(self) -> None:
        """
        If the replies have the type of service of the probes, or it is unknown, there
        is no line.
        """
        same: list[dict[int | None, int]]
        same = [{}, {None: 3}, {EF: 3}, {EF: 3, None: 1}]
        for toses in same:
            self.assertEqual(self.lines(toses), [])

    def test_dscp(self) -> None:
        """
        A difference in the DSCP has a line, with the number of replies unless it is all
        of them.
        """
        other = "came with DSCP 0 instead of 46 (EF)"
        self.assertEqual(self.lines({0: 3}), [f"the replies {other}"])
        self.assertEqual(self.lines({0: 3, EF: 7}), [f"3 of 10 replies {other}"])

    def test_ecn(self) -> None:
        """
        The bits of ECN have a line of their own, unless they are 0: servers do not copy
        them.
        """
        line = "2 of 4 replies came with ECN 3 (CE) instead of 2 (ECT(0))"
        self.assertEqual(self.lines({EF + 2: 2, EF + 3: 2}, EF + 2), [line])
        self.assertEqual(self.lines({EF: 4}, EF + 2), [])
        self.assertEqual(
            self.lines({3: 4}),
            [
                "the replies came with DSCP 0 instead of 46 (EF)",
                "the replies came with ECN 3 (CE) instead of 0 (not ECT)",
            ],
        )

    def test_flows(self) -> None:
        """
        If only some flows are concerned, they are named.
        """
        flows = flowsOf(({}, {EF: 10}), ({}, {0: 10}), ({}, {1: 6, EF: 4}))
        result = replace(RESULT, toses={EF: 14, 0: 10, 1: 6}, flows=flows)
        self.assertEqual(
            tosLines(result, EF),
            [
                "16 of 30 replies came with DSCP 0 instead of 46 (EF) "
                "(source ports 40002, 40003)",
                "6 of 30 replies came with ECN 1 (ECT(1)) instead of 0 (not ECT) "
                "(source port 40003)",
            ],
        )
